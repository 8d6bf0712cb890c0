// What is compiled for several instruction sets.
//
// Wheels and build farms do not know the processor that will run them, so nothing is compiled with
// -march=native. A function marked POLARSEG_MULTIVERSION is compiled for AVX-512, AVX2 and the
// baseline, and one of these is chosen when the library is loaded; it must be free-standing (not
// inline, not a template) and have its loops in itself or in inlined functions. Its results are
// those of the baseline: contraction is off (setup.py).
#pragma once

// Functions can be compiled for AVX2 and AVX-512, intrinsics included; whether they can be run is
// asked of the processor.
#if defined(__x86_64__) && defined(__GNUC__)
#define POLARSEG_X86_TARGETS
#endif

// Sanitizers intercept before such a choice can be made.
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__)
#define POLARSEG_MULTIVERSION __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define POLARSEG_MULTIVERSION
#endif
