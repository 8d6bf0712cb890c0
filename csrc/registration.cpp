// Schemas of the operators and which function serves which device; nothing else.
#include <torch/library.h>

#include "deform_conv2d/deform_conv2d_ops.h"
#include "largest_contours/largest_contours_ops.h"
#include "paste_masks_to_rle/paste_masks_to_rle_ops.h"
#include "polar_rays/polar_rays_ops.h"
#include "polygons_to_rle/polygons_to_rle_ops.h"

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
  m.def("largest_contours(Tensor masks) -> (Tensor, Tensor)", {at::Tag::pt2_compliant_tag});
  m.def(
      "polygons_to_rle(Tensor vertices, Tensor offsets, int height, int width, str rule=\"fill\") "
      "-> (Tensor, Tensor)",
      {at::Tag::pt2_compliant_tag});
  m.def(
      "paste_masks_to_rle(Tensor masks, Tensor boxes, int height, int width, float threshold=0.5, "
      "str rule=\"half_pixel\") -> (Tensor, Tensor)",
      {at::Tag::pt2_compliant_tag});
}

TORCH_LIBRARY_IMPL(polarseg, CPU, m) {
  m.impl("deform_conv2d", &polarseg::deform_conv2d_cpu);
  m.impl("deform_conv2d_backward", &polarseg::deform_conv2d_backward_cpu);
  m.impl("polar_ray_targets", &polarseg::polar_ray_targets_cpu);
  m.impl("largest_contours", &polarseg::largest_contours);
  m.impl("polygons_to_rle", &polarseg::polygons_to_rle);
  m.impl("paste_masks_to_rle", &polarseg::paste_masks_to_rle);
}

// These work on the host whatever the device, so they need no CUDA to be compiled.
TORCH_LIBRARY_IMPL(polarseg, CUDA, m) {
  m.impl("largest_contours", &polarseg::largest_contours);
  m.impl("polygons_to_rle", &polarseg::polygons_to_rle);
  m.impl("paste_masks_to_rle", &polarseg::paste_masks_to_rle);
}

// The lengths are targets, constants for autograd: it has nothing to do, and so costs nothing.
TORCH_LIBRARY_IMPL(polarseg, Autograd, m) {
  m.impl("polar_ray_targets", torch::CppFunction::makeFallthrough());
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
