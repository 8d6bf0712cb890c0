// polar_ray_targets on the CPU: each location on its own, so the result does not depend on the
// number of threads.
#include <ATen/EmptyTensor.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/ops/sqrt_cpu_dispatch.h>

#if defined(_OPENMP)
#include <omp.h>
#endif

#include <algorithm>
#include <atomic>
#include <limits>
#include <memory>
#include <mutex>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "polar_rays_check.h"
#include "polar_rays_ops.h"
#include "polar_rays_scan.h"

#if defined(_OPENMP)
#if defined(__linux__) && defined(__GNUC__)
// torch's own, where it has MKL
extern "C" int MKL_Set_Num_Threads_Local(int) __attribute__((weak));
#else
static int (*const MKL_Set_Num_Threads_Local)(int) = nullptr;
#endif
#endif

namespace polarseg {
namespace {

void check_offsets(const int64_t* offsets, int64_t num_instances, int64_t num_points) {
  TORCH_CHECK_VALUE(offsets[0] == 0, "polar_ray_targets: offsets must begin with 0, got ",
                    offsets[0], ".");
  for (int64_t g = 0; g < num_instances; ++g) {
    TORCH_CHECK_VALUE(offsets[g] <= offsets[g + 1],
                      "polar_ray_targets: offsets must not decrease, but offsets[", g, "] is ",
                      offsets[g], " and offsets[", g + 1, "] is ", offsets[g + 1], ".");
  }
  TORCH_CHECK_VALUE(offsets[num_instances] == num_points,
                    "polar_ray_targets: offsets must end with the number of contour points, ",
                    num_points, ", got ", offsets[num_instances], ".");
}

int64_t longest_contour(const int64_t* offsets, int64_t num_instances) {
  int64_t longest = 0;
  for (int64_t g = 0; g < num_instances; ++g) {
    longest = std::max(longest, offsets[g + 1] - offsets[g]);
  }
  TORCH_CHECK_VALUE(longest <= std::numeric_limits<int32_t>::max(),
                    "polar_ray_targets: a contour has ", longest, " points, at most ",
                    std::numeric_limits<int32_t>::max(), " are possible.");
  return longest;
}

void check_instance_index(const int64_t* instance_index, int64_t num_locations,
                          int64_t num_instances) {
  for (int64_t n = 0; n < num_locations; ++n) {
    TORCH_CHECK_INDEX(instance_index[n] >= 0 && instance_index[n] < num_instances,
                      "polar_ray_targets: instance_index[", n, "] is ", instance_index[n],
                      ", but there are ", num_instances, " instances.");
  }
}

// The locations in the order of their instances, and how they are shared out.
struct Shares {
  std::vector<int64_t> order;   // numbers of locations
  int64_t threads;              // that are worth waking
  std::vector<int64_t> bounds;  // in the order, of runs that take about the same time
};

std::vector<int64_t> order_by_instance(const int64_t* instance_index, int64_t num_locations,
                                       int64_t num_instances) {
  std::vector<int64_t> next(num_instances + 1, 0);
  for (int64_t n = 0; n < num_locations; ++n) ++next[instance_index[n] + 1];
  std::partial_sum(next.begin(), next.end(), next.begin());
  std::vector<int64_t> order(num_locations);
  for (int64_t n = 0; n < num_locations; ++n) order[next[instance_index[n]]++] = n;
  return order;
}

// There are more runs than threads, and each thread takes the next: one that sleeps comes late. Not
// many more, because runs end within contours, too, whose points are made ready for each run.
Shares equal_shares(const PolarRayArguments& args, const int64_t* offsets,
                    const int64_t* instance_index) {
  constexpr int64_t kEach = 256;     // what a location takes besides, in points
  constexpr int64_t kLeast = 16384;  // points of a run: nine microseconds with AVX-512 on a Xeon
  constexpr int64_t kRuns = 8;       // for each thread, at most
  Shares shares;
  shares.order = order_by_instance(instance_index, args.num_locations(), args.num_instances());
  std::vector<int64_t> done(args.num_locations() + 1, 0);
  for (int64_t n = 0; n < args.num_locations(); ++n) {
    const int64_t* own = offsets + instance_index[shares.order[n]];
    done[n + 1] = done[n] + (own[1] - own[0]) + args.num_rays + kEach;
  }
  const int64_t total = done.back();
  shares.threads = std::clamp<int64_t>(total / kLeast, 1, at::get_num_threads());
  // as many for each, or one works on while the others are done
  const int64_t each = std::clamp<int64_t>(total / kLeast / shares.threads, 1, kRuns);
  const int64_t runs = shares.threads == 1 ? 1 : shares.threads * each;
  for (int64_t run = 0; run <= runs; ++run) {
    const double share = static_cast<double>(total) / runs * run;
    shares.bounds.push_back(std::lower_bound(done.begin(), done.end() - 1, share) - done.begin());
  }
  return shares;
}

// Asks the memory for the first contours, which then come while the rest is made ready.
void fetch(const at::Tensor& contours) {
#if defined(__GNUC__)
  constexpr int64_t kMost = 16384;  // numbers; the processor itself sees what the others will be
  constexpr int64_t kLine = 16;
  const float* points = contours.const_data_ptr<float>();
  const int64_t size = std::min(contours.numel(), kMost);
  for (int64_t i = 0; i < size; i += kLine) __builtin_prefetch(points + i);
#endif
}

using Directions = std::shared_ptr<const std::vector<RayDirection>>;

// Those of `count` rays all round. The last ones are kept: most calls ask for the same.
Directions directions_of(int count) {
  constexpr int kMost = 4096;
  static std::mutex mutex;
  static Directions kept;
  const std::lock_guard<std::mutex> lock(mutex);
  if (kept && kept->size() == static_cast<size_t>(count)) return kept;
  std::vector<RayDirection> directions(count);
  for (int ray = 0; ray < count; ++ray) directions[ray] = ray_direction(ray, count);
  auto own = std::make_shared<const std::vector<RayDirection>>(std::move(directions));
  if (count <= kMost) kept = own;
  return own;
}

// The vectors to work with, or null. torch says what the processor has: it knows the environment
// variable ATEN_CPU_CAPABILITY.
const GroupKernels* group_kernels() {
  static const GroupKernels* const kernels = [] {
    const std::string capability = at::get_cpu_capability();
    if (capability == "AVX512") return avx512_kernels();
    return capability == "AVX2" ? avx2_kernels() : nullptr;
  }();
  return kernels;
}

// The rays of the locations of one contour.
class GroupTask {
 public:
  GroupTask(const PolarRayArguments& args, int64_t longest)
      : exact_(args.exact),
        directions_(args.exact ? directions_of(count_of(args)) : nullptr),
        fan_{args.exact ? directions_->data() : nullptr, args.exact ? count_of(args) : 0,
             RayFan::stride_for(args.num_rays)},
        bins_(args.exact ? 1 : args.num_rays),
        kernels_(are_far_apart() ? group_kernels() : nullptr),
        longest_(kernels_ != nullptr ? 0 : longest) {}

  // Room for a thread.
  ContourScan scan() const { return {longest_, exact_}; }

  void run(const LocationGroup& group, ContourScan& scan) const {
    if (kernels_ != nullptr && exact_) return kernels_->exact_rays(group, fan_);
    if (kernels_ != nullptr) return kernels_->squared_binned_rays(group);
    for (int n = 0; n < group.count; ++n) {
      if (exact_) {
        exact_rays(group.view(n), fan_, group.num_rays, scan, group.row(n));
      } else {
        squared_binned_rays(group.view(n), bins_, scan, group.row(n));
      }
    }
  }

 private:
  static int count_of(const PolarRayArguments& args) {
    return args.num_rays * RayFan::stride_for(args.num_rays);
  }

  bool are_far_apart() const {
    return exact_ ? fan_.count <= GroupKernels::kMostRays : bins_.step >= GroupKernels::kLeastStep;
  }

  bool exact_;
  Directions directions_;
  RayFan fan_;
  PrimaryBins bins_;
  const GroupKernels* kernels_;
  int64_t longest_;
};

// While it lives, torch's operators do not leave this thread. Other threads do not notice.
class OnThisThread {
 public:
#if defined(_OPENMP)
  OnThisThread() : openmp_(omp_get_max_threads()) {
    omp_set_num_threads(1);
    // MKL goes by its own number where torch.set_num_threads has set that; 0 is none
    if (MKL_Set_Num_Threads_Local != nullptr) mkl_ = MKL_Set_Num_Threads_Local(1);
  }
  ~OnThisThread() {
    omp_set_num_threads(openmp_);
    if (MKL_Set_Num_Threads_Local != nullptr) MKL_Set_Num_Threads_Local(mkl_);
  }
#else
  OnThisThread() = default;
#endif
  OnThisThread(const OnThisThread&) = delete;
  OnThisThread& operator=(const OnThisThread&) = delete;

 private:
  [[maybe_unused]] int openmp_ = 0;
  [[maybe_unused]] int mkl_ = 0;
};

// Lengths from squared lengths, in place. The root is torch's own: on a CPU it may come from a
// vector maths library that is off by a unit in the last place, and the published lengths were
// taken with it: bit for bit means by it, too.
void take_roots(at::Tensor& squared) {
  // Whose root is kEmptyRay. Such libraries are slow with what has no root.
  constexpr float kEmptySquared = 1e-12f;
  float* rays = squared.mutable_data_ptr<float>();
  const int64_t size = squared.numel();
  for (int64_t i = 0; i < size; ++i) {
    rays[i] = rays[i] >= 0.f ? rays[i] : kEmptySquared;  // of kEmptyBin
  }
  [[maybe_unused]] const OnThisThread guard;  // it is not worth waking another
  at::cpu::sqrt_(squared);
}

}  // namespace

at::Tensor polar_ray_targets_cpu(const at::Tensor& contours, const at::Tensor& offsets,
                                 const at::Tensor& locations, const at::Tensor& instance_index,
                                 int64_t num_rays, std::string_view mode) {
  const PolarRayArguments args =
      check_arguments(contours, offsets, locations, instance_index, num_rays, mode);
  fetch(args.contours);
  const float* origins = args.locations.const_data_ptr<float>();
  const int64_t* starts = args.offsets.const_data_ptr<int64_t>();
  const int64_t* instances = args.instance_index.const_data_ptr<int64_t>();
  check_offsets(starts, args.num_instances(), args.num_points());
  check_instance_index(instances, args.num_locations(), args.num_instances());

  const GroupTask task(args, longest_contour(starts, args.num_instances()));
  at::Tensor rays = at::detail::empty_cpu({args.num_locations(), num_rays}, at::kFloat);
  float* output = rays.mutable_data_ptr<float>();
  const float* points = args.contours.const_data_ptr<float>();
  const Shares shares = equal_shares(args, starts, instances);
  const auto runs = static_cast<int64_t>(shares.bounds.size()) - 1;
  std::atomic<int64_t> next{0};
  at::parallel_for(0, shares.threads, 1, [&](int64_t, int64_t) {
    ContourScan scan = task.scan();
    for (int64_t run = next++; run < runs; run = next++) {
      const int64_t* const end = shares.order.data() + shares.bounds[run + 1];
      for (const int64_t* n = shares.order.data() + shares.bounds[run]; n < end;) {
        const int64_t instance = instances[*n];
        const int64_t* const last =
            std::find_if(n, end, [&](int64_t other) { return instances[other] != instance; });
        const int64_t start = starts[instance];
        task.run({points + 2 * start, starts[instance + 1] - start, origins, n,
                  static_cast<int>(last - n), output, args.num_rays},
                 scan);
        n = last;
      }
    }
  });
  if (!args.exact) take_roots(rays);
  return rays;
}

}  // namespace polarseg
