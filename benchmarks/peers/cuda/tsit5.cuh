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

  T k1[N], k7[N];
  unsigned piece, last;

  __device__ __forceinline__ void begin(const Problem &p, C t, const T *x) { piece = p.rates(T(t), x, k1); }

  __device__ __forceinline__ C first_step(const Problem &p, C t, C span, const T *x, Tolerance<T> tolerance) const {
    return ::first_step(p, t, span, x, k1, tolerance);
  }

  // The end of a step and the rates there; leaves the stages behind for the error.
  __device__ __forceinline__ bool stages(const Problem &p, C t, C taken, C end, const T *x, T *y, T *k2, T *k3, T *k4, T *k5,
                                         T *k6) {
    T h = T(taken);
    bool across = false;
    {
      T a = h * T(0.161);
#pragma unroll(some)
      for (int j = 0; j < N; j++) y[j] = x[j] + a * k1[j];
      across |= p.rates(T(t + C(0.161) * taken), y, k2) != piece;
    }
    {
      T a = h * T(-0.008480655492356989), b = h * T(0.335480655492357);
#pragma unroll(some)
      for (int j = 0; j < N; j++) y[j] = x[j] + a * k1[j] + b * k2[j];
      across |= p.rates(T(t + C(0.327) * taken), y, k3) != piece;
    }
    {
      T a = h * T(2.8971530571054935), b = h * T(-6.359448489975075), c = h * T(4.3622954328695815);
#pragma unroll(some)
      for (int j = 0; j < N; j++) y[j] = x[j] + a * k1[j] + b * k2[j] + c * k3[j];
      across |= p.rates(T(t + C(0.9) * taken), y, k4) != piece;
    }
    {
      T a = h * T(5.325864828439257), b = h * T(-11.748883564062828), c = h * T(7.4955393428898365);
      T d = h * T(-0.09249506636175525);
#pragma unroll(some)
      for (int j = 0; j < N; j++) y[j] = x[j] + a * k1[j] + b * k2[j] + c * k3[j] + d * k4[j];
      across |= p.rates(T(t + C(0.9800255409045097) * taken), y, k5) != piece;
    }
    {
      T a = h * T(5.86145544294642), b = h * T(-12.92096931784711), c = h * T(8.159367898576159);
      T d = h * T(-0.071584973281401), e = h * T(-0.028269050394068383);
#pragma unroll(some)
      for (int j = 0; j < N; j++) y[j] = x[j] + a * k1[j] + b * k2[j] + c * k3[j] + d * k4[j] + e * k5[j];
      across |= p.rates(T(end), y, k6) != piece;
    }
    {
      T a = h * T(0.09646076681806523), b = h * T(0.01), c = h * T(0.4798896504144996), d = h * T(1.379008574103742);
      T e = h * T(-3.2900695154360807), f = h * T(2.324710524099774);
      // the increment is summed first: its rounding is what stays
#pragma unroll(some)
      for (int j = 0; j < N; j++)
        y[j] = x[j] + (a * k1[j] + b * k2[j] + c * k3[j] + d * k4[j] + e * k5[j] + f * k6[j]);
      last = p.rates(T(end), y, k7);
      across |= last != piece;
    }
    return across;
  }

  __device__ __forceinline__ T attempt(const Problem &p, C t, C taken, C end, const T *x, T *y, Tolerance<T> tolerance,
                                       bool &across) {
    T k2[N], k3[N], k4[N], k5[N], k6[N], h = T(taken);
    across = stages(p, t, taken, end, x, y, k2, k3, k4, k5, k6);
    T a = h * T(0.0017800110522257714), b = h * T(0.0008164344596567469), c = h * T(-0.007880878010261995);
    T d = h * T(0.1447110071732629), e = h * T(-0.5823571654525552), f = h * T(0.45808210592918697), g = h * T(-1.0 / 66.0);
    // in the place of a stage
#pragma unroll(some)
    for (int j = 0; j < N; j++)
      k2[j] = a * k1[j] + b * k2[j] + c * k3[j] + d * k4[j] + e * k5[j] + f * k6[j] + g * k7[j];
    return mean_square(p, k2, x, y, tolerance);
  }

  __device__ __forceinline__ void accept() {
    piece = last;
#pragma unroll(some)
    for (int j = 0; j < N; j++) k1[j] = k7[j];
  }

  // A step without a test.
  __device__ __forceinline__ void advance(const Problem &p, C t, C h, T *x) {
    T k2[N], k3[N], k4[N], k5[N], k6[N], y[N];
    stages(p, t, h, t + h, x, y, k2, k3, k4, k5, k6);
    accept();
#pragma unroll(some)
    for (int j = 0; j < N; j++) x[j] = y[j];
  }
};
