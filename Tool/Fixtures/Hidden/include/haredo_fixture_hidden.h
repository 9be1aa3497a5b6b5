// SPDX-License-Identifier: Apache-2.0
// Nothing: the library is loaded, not linked.
