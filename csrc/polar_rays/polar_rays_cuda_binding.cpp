// polar_ray_targets on CUDA: checks, memory and stream of torch around the kernels' launchers.
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <limits>

#include "polar_rays_check.h"
#include "polar_rays_launch.h"
#include "polar_rays_ops.h"

namespace polarseg {

at::Tensor polar_ray_targets_cuda(const at::Tensor& contours, const at::Tensor& offsets,
                                  const at::Tensor& locations, const at::Tensor& instance_index,
                                  int64_t num_rays, std::string_view mode) {
  const PolarRayArguments args =
      check_arguments(contours, offsets, locations, instance_index, num_rays, mode);
  TORCH_CHECK_VALUE(args.num_locations() <= std::numeric_limits<int32_t>::max(),
                    "polar_ray_targets: at most 2147483647 locations fit one launch, got ",
                    args.num_locations(), ".");
  const c10::cuda::CUDAGuard guard(contours.device());
  const auto stream = c10::cuda::getCurrentCUDAStream();

  at::Tensor rays = at::empty({args.num_locations(), num_rays}, args.locations.options());
  const PolarRayProblem problem{args.contours.const_data_ptr<float>(),
                                args.offsets.const_data_ptr<int64_t>(),
                                args.locations.const_data_ptr<float>(),
                                args.instance_index.const_data_ptr<int64_t>(),
                                rays.mutable_data_ptr<float>(),
                                args.num_points(),
                                args.num_instances(),
                                args.num_locations(),
                                args.num_rays};
  int error = 0;
  if (args.exact) {
    const int64_t count = num_rays * RayFan::stride_for(args.num_rays);
    const at::Tensor directions =
        at::empty({count, 2}, args.locations.options().dtype(at::kDouble));
    static_assert(sizeof(RayDirection) == 2 * sizeof(double));
    error = launch_exact_rays(
        problem, reinterpret_cast<RayDirection*>(directions.mutable_data_ptr<double>()),
        stream.stream());
  } else {
    error = launch_binned_rays(problem, stream.stream());
  }
  C10_CUDA_CHECK(static_cast<cudaError_t>(error));
  return rays;
}

}  // namespace polarseg
