// SPDX-License-Identifier: Apache-2.0

// As a function that is not public in Swift.
__attribute__((visibility("hidden"))) const void *haredo_plugin_main(void) { return 0; }

int haredo_fixture_other(void) { return 1; }
