// SPDX-License-Identifier: Apache-2.0
// What code compiled for libFuzzer calls at every comparison, doing nothing. A program that links these instead of
// libFuzzer runs the same build of our modules a sixth faster: it is not steered by what it covers.
// The functions are those of https://clang.llvm.org/docs/SanitizerCoverage.html
#include <stdint.h>

/// Where the stack was deepest, which instrumented functions note by themselves.
__attribute__((tls_model("initial-exec"))) _Thread_local uintptr_t __sancov_lowest_stack;

void __sanitizer_cov_8bit_counters_init(char *start, char *stop) { (void)start; (void)stop; }
void __sanitizer_cov_pcs_init(const uintptr_t *start, const uintptr_t *stop) { (void)start; (void)stop; }
void __sanitizer_cov_trace_pc_indir(uintptr_t callee) { (void)callee; }
void __sanitizer_cov_trace_cmp1(uint8_t one, uint8_t other) { (void)one; (void)other; }
void __sanitizer_cov_trace_cmp2(uint16_t one, uint16_t other) { (void)one; (void)other; }
void __sanitizer_cov_trace_cmp4(uint32_t one, uint32_t other) { (void)one; (void)other; }
void __sanitizer_cov_trace_cmp8(uint64_t one, uint64_t other) { (void)one; (void)other; }
void __sanitizer_cov_trace_const_cmp1(uint8_t one, uint8_t other) { (void)one; (void)other; }
void __sanitizer_cov_trace_const_cmp2(uint16_t one, uint16_t other) { (void)one; (void)other; }
void __sanitizer_cov_trace_const_cmp4(uint32_t one, uint32_t other) { (void)one; (void)other; }
void __sanitizer_cov_trace_const_cmp8(uint64_t one, uint64_t other) { (void)one; (void)other; }
void __sanitizer_cov_trace_switch(uint64_t value, uint64_t *cases) { (void)value; (void)cases; }
