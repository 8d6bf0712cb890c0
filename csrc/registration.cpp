// Schemas of the operators and which function serves which device; nothing else.
#include <torch/library.h>

#include "polar_rays/polar_rays_ops.h"

TORCH_LIBRARY(polarseg, m) {
  m.def(
      "polar_ray_targets(Tensor contours, Tensor offsets, Tensor locations, Tensor instance_index, "
      "int num_rays=36, str mode=\"binned\") -> Tensor",
      {at::Tag::pt2_compliant_tag});
}

TORCH_LIBRARY_IMPL(polarseg, CPU, m) {
  m.impl("polar_ray_targets", &polarseg::polar_ray_targets_cpu);
}

#ifdef POLARSEG_WITH_CUDA
TORCH_LIBRARY_IMPL(polarseg, CUDA, m) {
  m.impl("polar_ray_targets", &polarseg::polar_ray_targets_cuda);
}
#endif
