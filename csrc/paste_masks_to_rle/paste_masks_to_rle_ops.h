// The function behind polarseg::paste_masks_to_rle, for every device.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>
#include <tuple>

namespace polarseg {

std::tuple<at::Tensor, at::Tensor> paste_masks_to_rle(const at::Tensor& masks,
                                                      const at::Tensor& boxes, int64_t height,
                                                      int64_t width, double threshold,
                                                      std::string_view rule);

}  // namespace polarseg
