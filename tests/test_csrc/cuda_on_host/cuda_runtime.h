// Runs CUDA kernels on the host, one thread after the other: as much of CUDA as our kernels use.
//
// Each CUDA thread of a block is a fiber with a stack of its own. A shuffle, or __syncthreads,
// hands over to the next fiber until all that are left of the block have come there, so threads
// exchange values as they would in lock-step. Blocks run one after the other.
#pragma once

#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(threads)

struct dim3 {
  unsigned x = 1;
  unsigned y = 1;
  unsigned z = 1;
};

using cudaStream_t = void*;
using cudaError_t = int;
constexpr int cudaSuccess = 0;
constexpr int cudaErrorInvalidConfiguration = 9;
inline int cudaGetLastError() { return cudaSuccess; }

inline dim3 threadIdx;
inline dim3 blockIdx;

namespace emulated {

constexpr size_t kStack = 64 * 1024;

struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack{new char[kStack]};
  bool finished = false;
};

struct Block {
  std::vector<Fiber> fibers;
  std::vector<uint64_t> slots;  // what each thread offers to a shuffle
  ucontext_t scheduler;
  std::function<void()> body;
  unsigned current = 0;
};

inline Block block;

inline void enter() {
  block.body();
  block.fibers[block.current].finished = true;
  swapcontext(&block.fibers[block.current].context, &block.scheduler);
}

inline void wait_for_block() {
  swapcontext(&block.fibers[block.current].context, &block.scheduler);
}

inline void run_block(unsigned threads) {
  block.fibers.resize(threads);
  block.slots.assign(threads, 0);
  for (Fiber& fiber : block.fibers) {
    fiber.finished = false;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStack;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, enter, 0);
  }
  for (bool any = true; any;) {
    any = false;
    for (unsigned i = 0; i < threads; ++i) {
      if (block.fibers[i].finished) continue;
      any = true;
      block.current = i;
      threadIdx.x = i;
      swapcontext(&block.scheduler, &block.fibers[i].context);
    }
  }
}

// kernel<<<blocks, threads, shared, stream>>>(...)
inline void launch(unsigned blocks, unsigned threads, int, cudaStream_t,
                   std::function<void()> body) {
  block.body = std::move(body);
  for (unsigned i = 0; i < blocks; ++i) {
    blockIdx.x = i;
    run_block(threads);
  }
}

}  // namespace emulated

inline void __syncthreads() { emulated::wait_for_block(); }

template <typename T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  static_assert(sizeof(T) <= sizeof(uint64_t));
  const unsigned self = emulated::block.current;
  std::memcpy(&emulated::block.slots[self], &value, sizeof(T));
  emulated::wait_for_block();
  const unsigned other = (self & ~31u) | ((self ^ static_cast<unsigned>(mask)) & 31u);
  std::memcpy(&value, &emulated::block.slots[other], sizeof(T));
  emulated::wait_for_block();
  return value;
}

template <typename T>
void atomicAdd(T* address, T value) {
  *address += value;
}
