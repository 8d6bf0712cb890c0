// The inner loops, included by deform_conv2d_kernels.cpp once for each instruction set, inside of a
// namespace that holds Ops<T> (a vector type and its arithmetic) and kTileRows, and with
// POLARSEG_TARGET naming the instruction set. No lambdas: they would not inherit it. No include
// guard: see there.

// ---- products -----------------------------------------------------------------------------------

// A tile of kRows x kVectors vectors of the sum stays in registers while k runs.
template <typename T, int kRows, int kVectors, bool kTransposed>
POLARSEG_TARGET void multiply_tile(const T* __restrict__ left, const T* __restrict__ right,
                                   const T* ahead, int64_t k, T* __restrict__ sum,
                                   int64_t sum_stride, bool add) {
  using O = Ops<T>;
  constexpr int64_t kRowStep = kTransposed ? 1 : kDepth;
  constexpr int64_t kStep = kTransposed ? kDepth : 1;
  typename O::Vector tile[kRows][kVectors];
  POLARSEG_UNROLL for (int r = 0; r < kRows; ++r) {
    POLARSEG_UNROLL for (int v = 0; v < kVectors; ++v) {
      tile[r][v] = add ? O::load(sum + r * sum_stride + v * O::kWidth) : O::set(T(0));
    }
  }
  for (int64_t step = 0; step < k; ++step) {
    POLARSEG_PREFETCH(ahead);
    typename O::Vector row[kVectors];
    POLARSEG_UNROLL for (int v = 0; v < kVectors; ++v) row[v] = O::load(right + v * O::kWidth);
    POLARSEG_UNROLL for (int r = 0; r < kRows; ++r) {
      const typename O::Vector factor = O::set(left[r * kRowStep]);
      POLARSEG_UNROLL for (int v = 0; v < kVectors; ++v) {
        tile[r][v] = O::multiply_add(factor, row[v], tile[r][v]);
      }
    }
    left += kStep;
    right += kVectors * O::kWidth;
    ahead += O::kWidth;
  }
  POLARSEG_UNROLL for (int r = 0; r < kRows; ++r) {
    POLARSEG_UNROLL for (int v = 0; v < kVectors; ++v) {
      O::store(sum + r * sum_stride + v * O::kWidth, tile[r][v]);
    }
  }
}

template <typename T>
using TileFunction = void (*)(const T*, const T*, const T*, int64_t, T*, int64_t, bool);

template <typename T, int kVectors, bool kTransposed, int... kRows>
const TileFunction<T>* tile_functions(std::integer_sequence<int, kRows...>) {
  static constexpr TileFunction<T> functions[] = {
      multiply_tile<T, kRows + 1, kVectors, kTransposed>...};
  return functions;
}

template <typename T, int kVectors, bool kTransposed>
void multiply_all(const Product<T>& p) {
  const TileFunction<T>* functions =
      tile_functions<T, kVectors, kTransposed>(std::make_integer_sequence<int, kTileRows>{});
  constexpr int64_t kPanel = kVectors * Ops<T>::kWidth;
  constexpr int64_t kRowStep = kTransposed ? 1 : kDepth;
  // Tiles of nearly equal height waste less than full ones and a low last one.
  const int64_t tiles = (p.m + kTileRows - 1) / kTileRows;
  for (int64_t panel = 0; panel < p.panels; ++panel) {
    const T* right = p.right + panel * p.panel_stride;
    int64_t row = 0;
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t rows = (p.m - row) / (tiles - tile);
      // The first tiles fetch the next panel, a vector in each step.
      const T* ahead =
          tile < kVectors ? right + p.panel_stride + tile * p.k * Ops<T>::kWidth : right;
      functions[rows - 1](p.left + row * kRowStep, right, ahead, p.k,
                          p.sum + row * p.sum_stride + panel * kPanel, p.sum_stride, p.add);
      row += rows;
    }
  }
}

// ---- reading taps -------------------------------------------------------------------------------

template <typename T>
POLARSEG_TARGET void gather_columns(const T* image, int64_t pixel_stride, const Tap<T>* taps,
                                    const T* mask, int64_t m, int64_t channels, T* columns) {
  using O = Ops<T>;
  using V = typename O::Vector;
  static const T kZeros[kDepth] = {};
  for (int64_t i = 0; i < m; ++i) {
    const Tap<T>& tap = taps[i];
    const T scale = mask != nullptr ? mask[i] : T(1);
    const T* corner[4];
    T weight[4];
    for (int q = 0; q < 4; ++q) {
      corner[q] = tap.pixel[q] >= 0 ? image + tap.pixel[q] * pixel_stride : kZeros;
      weight[q] = tap.weight[q] * scale;
    }
    const V w0 = O::set(weight[0]);
    const V w1 = O::set(weight[1]);
    const V w2 = O::set(weight[2]);
    const V w3 = O::set(weight[3]);
    T* column = columns + i * kDepth;
    int64_t c = 0;
    for (; c + O::kWidth <= channels; c += O::kWidth) {
      V value = O::multiply(w0, O::load(corner[0] + c));
      value = O::multiply_add(w1, O::load(corner[1] + c), value);
      value = O::multiply_add(w2, O::load(corner[2] + c), value);
      value = O::multiply_add(w3, O::load(corner[3] + c), value);
      O::store(column + c, value);
    }
    for (; c < channels; ++c) {
      column[c] = weight[0] * corner[0][c] + weight[1] * corner[1][c] + weight[2] * corner[2][c] +
                  weight[3] * corner[3][c];
    }
  }
}

// ---- gradients of taps --------------------------------------------------------------------------

template <typename T>
POLARSEG_TARGET void add_image_grad(const Scatter<T>& s) {
  using O = Ops<T>;
  for (int64_t i = 0; i < s.m; ++i) {
    const Tap<T>& tap = s.taps[i];
    const T scale = s.mask != nullptr ? s.mask[i] : T(1);
    const T* grad = s.column_grad + i * s.stride;
    for (int q = 0; q < 4; ++q) {
      if (tap.pixel[q] < 0) continue;
      T* target = s.image_grad + tap.pixel[q] * s.pixel_stride;
      const T weight = tap.weight[q] * scale;
      const typename O::Vector w = O::set(weight);
      int64_t c = 0;
      for (; c + O::kWidth <= s.channels; c += O::kWidth) {
        O::store(target + c, O::multiply_add(w, O::load(grad + c), O::load(target + c)));
      }
      for (; c < s.channels; ++c) target[c] += weight * grad[c];
    }
  }
}

template <typename T>
POLARSEG_TARGET void write_tap_grad(const Scatter<T>& s) {
  using O = Ops<T>;
  using V = typename O::Vector;
  static const T kZeros[kDepth] = {};
  for (int64_t i = 0; i < s.m; ++i) {
    const Tap<T>& tap = s.taps[i];
    const T* grad = s.column_grad + i * s.stride;
    const T* corner[4];
    for (int q = 0; q < 4; ++q) {
      corner[q] = tap.pixel[q] >= 0 ? s.image + tap.pixel[q] * s.pixel_stride : kZeros;
    }
    V sums[4] = {O::set(T(0)), O::set(T(0)), O::set(T(0)), O::set(T(0))};
    int64_t c = 0;
    for (; c + O::kWidth <= s.channels; c += O::kWidth) {
      const V g = O::load(grad + c);
      POLARSEG_UNROLL for (int q = 0; q < 4; ++q) {
        sums[q] = O::multiply_add(g, O::load(corner[q] + c), sums[q]);
      }
    }
    T sum[4];
    for (int q = 0; q < 4; ++q) {
      T lane[O::kWidth];
      O::store(lane, sums[q]);
      sum[q] = sum_of_lanes<O::kWidth>(lane);
    }
    for (; c < s.channels; ++c) {
      for (int q = 0; q < 4; ++q) sum[q] += grad[c] * corner[q][c];
    }
    const T scale = s.mask != nullptr ? s.mask[i] : T(1);
    const TapGradient<T> result = tap_gradient(tap, sum[0], sum[1], sum[2], sum[3], scale);
    s.tap_grad[i] = result.y;
    s.tap_grad[s.tap_grad_stride + i] = result.x;
    s.tap_grad[2 * s.tap_grad_stride + i] = result.mask;
  }
}

template <typename T>
void scatter_columns(const Scatter<T>& s) {
  if (s.tap_grad != nullptr) write_tap_grad(s);
  if (s.image_grad != nullptr) add_image_grad(s);
}

template <typename T>
const Kernels<T>& kernels() {
  static const Kernels<T> result{Ops<T>::kWidth,
                                 {multiply_all<T, 1, false>, multiply_all<T, 2, false>},
                                 {multiply_all<T, 1, true>, multiply_all<T, 2, true>},
                                 gather_columns<T>,
                                 scatter_columns<T>};
  return result;
}
