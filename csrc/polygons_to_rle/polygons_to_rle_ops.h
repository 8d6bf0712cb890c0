// The function behind polarseg::polygons_to_rle, for every device.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string_view>
#include <tuple>

namespace polarseg {

std::tuple<at::Tensor, at::Tensor> polygons_to_rle(const at::Tensor& vertices,
                                                   const at::Tensor& offsets, int64_t height,
                                                   int64_t width, std::string_view rule);

}  // namespace polarseg
