// SPDX-License-Identifier: Apache-2.0
extern const void *haredo_fixture_that_is_nowhere(void);

const void *haredo_plugin_main(void) { return haredo_fixture_that_is_nowhere(); }
