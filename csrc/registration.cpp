// Schemas of the operators and which function serves which device; nothing else.
#include <torch/library.h>

#include "deform_conv2d/deform_conv2d_ops.h"
#include "polar_rays/polar_rays_ops.h"

TORCH_LIBRARY(polarseg, m) {
  m.def(
      "deform_conv2d(Tensor input, Tensor offset, Tensor weight, Tensor? bias=None, "
      "int[2] stride=1, int[2] padding=0, int[2] dilation=1, Tensor? mask=None, int groups=1, "
      "int deform_groups=1) -> Tensor",
      {at::Tag::pt2_compliant_tag});
  m.def(
      "deform_conv2d_backward(Tensor grad, Tensor input, Tensor offset, Tensor weight, "
      "Tensor? mask, int[2] stride, int[2] padding, int[2] dilation, int groups, "
      "int deform_groups, bool[4] output_mask) -> (Tensor, Tensor, Tensor, Tensor)",
      {at::Tag::pt2_compliant_tag});
  m.def(
      "polar_ray_targets(Tensor contours, Tensor offsets, Tensor locations, Tensor instance_index, "
      "int num_rays=36, str mode=\"binned\") -> Tensor",
      {at::Tag::pt2_compliant_tag});
}

TORCH_LIBRARY_IMPL(polarseg, CPU, m) {
  m.impl("deform_conv2d", &polarseg::deform_conv2d_cpu);
  m.impl("deform_conv2d_backward", &polarseg::deform_conv2d_backward_cpu);
  m.impl("polar_ray_targets", &polarseg::polar_ray_targets_cpu);
}

TORCH_LIBRARY_IMPL(polarseg, AutocastCPU, m) {
  m.impl("deform_conv2d", &polarseg::deform_conv2d_autocast_cpu);
}

TORCH_LIBRARY_IMPL(polarseg, AutocastCUDA, m) {
  m.impl("deform_conv2d", &polarseg::deform_conv2d_autocast_cuda);
}

#ifdef POLARSEG_WITH_CUDA
TORCH_LIBRARY_IMPL(polarseg, CUDA, m) {
  m.impl("deform_conv2d", &polarseg::deform_conv2d_cuda);
  m.impl("deform_conv2d_backward", &polarseg::deform_conv2d_backward_cuda);
  m.impl("polar_ray_targets", &polarseg::polar_ray_targets_cuda);
}
#endif
