// Ray targets with AVX2.
#include "../common/simd_avx2.h"
#include "polar_rays_scan.h"

#if defined(POLARSEG_X86_TARGETS)
#include "binned_rays_simd.h"
#include "exact_rays_simd.h"
#endif

namespace polarseg {

const GroupKernels* avx2_kernels() {
#if defined(POLARSEG_X86_TARGETS)
  static constexpr GroupKernels kernels{avx2::squared_binned_rays, avx2::exact_rays};
  return &kernels;
#else
  return nullptr;
#endif
}

}  // namespace polarseg
