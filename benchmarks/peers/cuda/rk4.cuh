// The classical Runge-Kutta method, of order 4. W. Kutta, Beitrag zur naeherungsweisen Integration totaler
// Differentialgleichungen, Z. Math. Phys. 46 (1901) 435-453. Without an estimate of the error: for steps of equal size.
#pragma once
#include "device.cuh"

template <class Problem> struct Rk4 {
  using T = typename Problem::Number;
  using C = typename Problem::Clock;
  static constexpr int N = Problem::states, some = Unroll<N>::count;

  __device__ __forceinline__ void begin(const Problem &, C, const T *) {}

  __device__ __forceinline__ void advance(const Problem &p, C t, C taken, T *x) {
    T k[N], sum[N], y[N], h = T(taken), half = h * T(0.5), sixth = h * T(1.0 / 6.0);
    p.rates(T(t), x, k);
#pragma unroll(some)
    for (int j = 0; j < N; j++) sum[j] = k[j], y[j] = x[j] + half * k[j];
    p.rates(T(t + C(0.5) * taken), y, k);
#pragma unroll(some)
    for (int j = 0; j < N; j++) sum[j] += T(2) * k[j], y[j] = x[j] + half * k[j];
    p.rates(T(t + C(0.5) * taken), y, k);
#pragma unroll(some)
    for (int j = 0; j < N; j++) sum[j] += T(2) * k[j], y[j] = x[j] + h * k[j];
    p.rates(T(t + taken), y, k);
#pragma unroll(some)
    for (int j = 0; j < N; j++) x[j] += sixth * (sum[j] + k[j]);
  }
};
