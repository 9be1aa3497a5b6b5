// SPDX-License-Identifier: Apache-2.0
// A target of C has to have a file of C.
#include "haredo_plugin.h"
