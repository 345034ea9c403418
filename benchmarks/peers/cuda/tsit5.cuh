// Ch. Tsitouras, Runge-Kutta pairs of order 5(4) satisfying only the first column simplifying assumption, Comput. Math. Appl.
// 62 (2011) 770-775.
#pragma once
#include "control.cuh"

template <class Problem> struct Tsit5 {
  using T = typename Problem::Number;
  using C = typename Problem::Clock;
  static constexpr int N = Problem::states, some = Unroll<N>::count;
  // of true to estimated error where the rates jump inside a step, over all places of the jump
  static constexpr T underestimate = T(84.93890288575159);
  // exponents of the controller
  static constexpr double now = 0.7, before = 0.4;

  T k1[N], k7[N];
  unsigned piece, last;

  __device__ __forceinline__ void begin(const Problem &p, C t, const T *x) { piece = p.rates(T(t), x, k1); }

  __device__ __forceinline__ C first_step(const Problem &p, C t, C span, const T *x, Tolerance<T> tolerance) const {
    return ::first_step(p, t, span, x, k1, tolerance);
  }

  // The weighted sum of rates times h, which goes into the weights if there are fewer of them than states, or if it is the same
  // for many steps.
  template <bool constant, int M> static constexpr bool into_weights = constant || M <= N;

  template <bool constant, int M>
  __device__ __forceinline__ static T increment(T h, const T (&weights)[M], const T *const (&k)[M], int j) {
    constexpr bool into = into_weights<constant, M>;
    T total = (into ? h * weights[0] : weights[0]) * k[0][j];
#pragma unroll
    for (int i = 1; i < M; i++) total += (into ? h * weights[i] : weights[i]) * k[i][j];
    return into ? total : h * total;
  }

  // From the state outwards where that is one fused operation a term.
  template <bool constant, int M>
  __device__ __forceinline__ static void moved(T h, const T (&weights)[M], const T *const (&k)[M], const T *x, T *y) {
#pragma unroll(some)
    for (int j = 0; j < N; j++) {
      if constexpr (into_weights<constant, M>) {
        T sum = x[j];
#pragma unroll
        for (int i = 0; i < M; i++) sum += h * weights[i] * k[i][j];
        y[j] = sum;
      } else {
        y[j] = x[j] + increment<constant>(h, weights, k, j);
      }
    }
  }

  // The end of a step and the rates there; leaves the stages behind for the error.
  template <bool constant>
  __device__ __forceinline__ bool stages(const Problem &p, C t, C taken, C end, const T *x, T *y, T *k2, T *k3, T *k4, T *k5,
                                         T *k6) {
    T h = T(taken);
    moved<constant>(h, {T(0.161)}, {k1}, x, y);
    bool across = p.rates(T(t + C(0.161) * taken), y, k2) != piece;
    moved<constant>(h, {T(-0.008480655492356989), T(0.335480655492357)}, {k1, k2}, x, y);
    across |= p.rates(T(t + C(0.327) * taken), y, k3) != piece;
    moved<constant>(h, {T(2.8971530571054935), T(-6.359448489975075), T(4.3622954328695815)}, {k1, k2, k3}, x, y);
    across |= p.rates(T(t + C(0.9) * taken), y, k4) != piece;
    moved<constant>(h, {T(5.325864828439257), T(-11.748883564062828), T(7.4955393428898365), T(-0.09249506636175525)},
                    {k1, k2, k3, k4}, x, y);
    across |= p.rates(T(t + C(0.9800255409045097) * taken), y, k5) != piece;
    moved<constant>(h,
                    {T(5.86145544294642), T(-12.92096931784711), T(8.159367898576159), T(-0.071584973281401),
                     T(-0.028269050394068383)},
                    {k1, k2, k3, k4, k5}, x, y);
    across |= p.rates(T(end), y, k6) != piece;
    // the increment is summed first: its rounding is what stays
#pragma unroll(some)
    for (int j = 0; j < N; j++)
      y[j] = x[j] + increment<constant>(h,
                                        {T(0.09646076681806523), T(0.01), T(0.4798896504144996), T(1.379008574103742),
                                         T(-3.2900695154360807), T(2.324710524099774)},
                                        {k1, k2, k3, k4, k5, k6}, j);
    last = p.rates(T(end), y, k7);
    return across | (last != piece);
  }

  __device__ __forceinline__ T attempt(const Problem &p, C t, C taken, C end, const T *x, T *y, Tolerance<T> tolerance,
                                       bool &across) {
    T k2[N], k3[N], k4[N], k5[N], k6[N], error[N];
    across = stages<false>(p, t, taken, end, x, y, k2, k3, k4, k5, k6);
#pragma unroll(some)
    for (int j = 0; j < N; j++)
      error[j] = increment<false>(T(taken),
                                  {T(0.0017800110522257714), T(0.0008164344596567469), T(-0.007880878010261995),
                                   T(0.1447110071732629), T(-0.5823571654525552), T(0.45808210592918697), T(-1.0 / 66.0)},
                                  {k1, k2, k3, k4, k5, k6, k7}, j);
    return mean_square(p, error, x, y, tolerance);
  }

  __device__ __forceinline__ void accept() {
    piece = last;
#pragma unroll(some)
    for (int j = 0; j < N; j++) k1[j] = k7[j];
  }

  // A step without a test.
  __device__ __forceinline__ void advance(const Problem &p, C t, C h, T *x) {
    T k2[N], k3[N], k4[N], k5[N], k6[N], y[N];
    stages<true>(p, t, h, t + h, x, y, k2, k3, k4, k5, k6);
    accept();
#pragma unroll(some)
    for (int j = 0; j < N; j++) x[j] = y[j];
  }
};
