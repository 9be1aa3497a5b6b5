// SPDX-License-Identifier: Apache-2.0
#ifndef HAREDO_PLUGIN_H
#define HAREDO_PLUGIN_H

#include <stdint.h>
#include <stdlib.h>

// What a plugin's shared library says of itself, in a form that is read before any Swift type in it is touched: whether
// its code and the program's agree about how those types look.

// Goes up whenever a public declaration changes that plugins could use: see Docs/plugins.md.
#define HAREDO_PLUGIN_ABI 3

// "HareDo" and a one, read as a little-endian number, so that it is found in a file as well.
#define HAREDO_PLUGIN_MAGIC UINT64_C(0x00016f4465726148)

enum { HAREDO_KIND_PLUGIN = 1, HAREDO_KIND_MODULE = 2 };

typedef struct haredo_descriptor {
  uint64_t magic;
  uint32_t abi;
  uint32_t kind;
  // What it was compiled with.
  const char *compiler;
  // Of the types that cross the border: see PluginLayouts.
  uint64_t layouts;
  // The metadata of its Swift type.
  const void *type;
} haredo_descriptor;

// Inline, so that numbers and compiler are those of whoever calls it.
static inline const char *haredo_compiler(void) { return __VERSION__; }

static inline uint32_t haredo_abi(void) { return HAREDO_PLUGIN_ABI; }

static inline uint64_t haredo_magic(void) { return HAREDO_PLUGIN_MAGIC; }

// Never freed, as the library is never unloaded. NULL if there is no memory.
static inline const haredo_descriptor *haredo_describe(uint32_t kind, uint64_t layouts, const void *type) {
  haredo_descriptor *descriptor = (haredo_descriptor *)malloc(sizeof(haredo_descriptor));
  if (descriptor) {
    *descriptor =
        (haredo_descriptor){HAREDO_PLUGIN_MAGIC, HAREDO_PLUGIN_ABI, kind, haredo_compiler(), layouts, type};
  }
  return descriptor;
}

#endif
