// Ray targets with AVX-512.
#include "../common/simd_avx512.h"
#include "polar_rays_scan.h"

#if defined(POLARSEG_X86_TARGETS)
#include "binned_rays_simd.h"
#include "exact_rays_simd.h"
#endif

namespace polarseg {

const GroupKernels* avx512_kernels() {
#if defined(POLARSEG_X86_TARGETS)
  static constexpr GroupKernels kernels{avx512::squared_binned_rays, avx512::exact_rays};
  return &kernels;
#else
  return nullptr;
#endif
}

}  // namespace polarseg
