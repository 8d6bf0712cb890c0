// The launchers of deform_conv2d as C functions, for ctypes.
#include "deform_conv2d_launch.h"

namespace {

polarseg::DeformConvTask task_of(const int64_t* shape, int type, int64_t first, int64_t count,
                                 const void* image, const void* offset, const void* mask) {
  const polarseg::DeformConvShape s{shape[0],  shape[1],  shape[2],  shape[3],  shape[4],
                                    shape[5],  shape[6],  shape[7],  shape[8],  shape[9],
                                    shape[10], shape[11], shape[12], shape[13], shape[14],
                                    shape[15], shape[16]};
  return {s, static_cast<polarseg::DeformConvType>(type), first, count, image, offset, mask};
}

}  // namespace

extern "C" int deform_columns(const int64_t* shape, int type, int64_t first, int64_t count,
                              const void* image, const void* offset, const void* mask,
                              void* columns) {
  const auto task = task_of(shape, type, first, count, image, offset, mask);
  return polarseg::launch_deform_columns(task, columns, nullptr);
}

extern "C" int deform_data_grad(const int64_t* shape, int type, int64_t first, int64_t count,
                                const void* image, const void* offset, const void* mask,
                                const void* column_grad, void* image_grad, void* offset_grad,
                                void* mask_grad) {
  const auto task = task_of(shape, type, first, count, image, offset, mask);
  return polarseg::launch_deform_data_grad(task, {column_grad, image_grad, offset_grad, mask_grad},
                                           nullptr);
}
