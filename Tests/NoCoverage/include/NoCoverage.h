// SPDX-License-Identifier: Apache-2.0
// Nothing to call: the compiler's instrumentation is what calls, see NoCoverage.c.
