// The function behind polarseg::mask_boxes, for every device.
#pragma once

#include <ATen/core/Tensor.h>

namespace polarseg {

at::Tensor mask_boxes(const at::Tensor& masks);

}  // namespace polarseg
