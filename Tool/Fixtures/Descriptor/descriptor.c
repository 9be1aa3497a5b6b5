// SPDX-License-Identifier: Apache-2.0
#include <stdint.h>

// What a library says of itself (haredo_plugin.h), to be changed in the built file: tests write over it.
static char compiler[512] = "the compiler";

static struct {
  uint64_t magic;
  uint32_t abi;
  uint32_t kind;
  const char *compiler;
  uint64_t layouts;
  const void *type;
} descriptor = {UINT64_C(0x00016f4465726148), 0, 1, compiler, 0, 0};

const void *haredo_plugin_main(void) { return &descriptor; }
