// E. N. Lorenz, Deterministic nonperiodic flow, J. Atmos. Sci. 20 (1963) 130-141: sigma 10, beta 8/3, from (1, 0, 0).
// Autonomous and short, so that time can have the states' type.
#pragma once
#include "tsit5.cuh"

template <class T> struct Lorenz {
  using Number = T;
  using Clock = T;
  using Method = Tsit5<Lorenz>;
  static constexpr int states = 3, outputs = 3, columns = 1, groups = 1, stretches = 1;
  static constexpr bool kinks = false;
  T rho;

  __device__ Lorenz(const T *columns, long, long i) : rho(columns[i]) {}
  __device__ __forceinline__ void start(T *x) const { x[0] = T(1), x[1] = T(0), x[2] = T(0); }
  __device__ __forceinline__ T enter(int, T end) const { return end; }
  __device__ __forceinline__ T weight(int) const { return T(1); }

  __device__ __forceinline__ unsigned rates(T, const T *x, T *dx) const {
    dx[0] = T(10) * (x[1] - x[0]);
    dx[1] = x[0] * (rho - x[2]) - x[1];
    dx[2] = x[0] * x[1] - T(8.0 / 3.0) * x[2];
    return 0;
  }
  __device__ __forceinline__ void output(const T *x, T *values) const {
    for (int j = 0; j < 3; j++) values[j] = x[j];
  }
};

// With sensitivities to rho and to the three initial values, each a group of its own in the error test.
template <class T> struct LorenzGradient {
  using Number = T;
  using Clock = T;
  using Method = Tsit5<LorenzGradient>;
  static constexpr int states = 15, outputs = 7, columns = 1, groups = 5, stretches = 1;
  static constexpr bool kinks = false;
  T rho, per_rho;

  __device__ LorenzGradient(const T *columns, long, long i)
      : rho(columns[i]), per_rho(rho == T(0) ? T(1) : T(1) / fabs(rho)) {}
  __device__ __forceinline__ void start(T *x) const {
#pragma unroll
    for (int j = 0; j < states; j++) x[j] = T(0);
    x[0] = x[6] = x[10] = x[14] = T(1);
  }
  __device__ __forceinline__ T enter(int, T end) const { return end; }
  // the tolerance of a sensitivity is that of the states it would shift: over the size of rho, and over 1, since the initial
  // values are 1 and 0
  __device__ __forceinline__ T weight(int group) const { return group == 1 ? per_rho : T(1); }

  __device__ __forceinline__ unsigned rates(T, const T *x, T *dx) const {
    T deficit = rho - x[2];
    dx[0] = T(10) * (x[1] - x[0]);
    dx[1] = x[0] * deficit - x[1];
    dx[2] = x[0] * x[1] - T(8.0 / 3.0) * x[2];
#pragma unroll
    for (int g = 3; g < states; g += 3) {
      dx[g] = T(10) * (x[g + 1] - x[g]);
      dx[g + 1] = x[g] * deficit - x[0] * x[g + 2] - x[g + 1];
      dx[g + 2] = x[g] * x[1] + x[0] * x[g + 1] - T(8.0 / 3.0) * x[g + 2];
    }
    dx[4] += x[0];
    return 0;
  }
  __device__ __forceinline__ void output(const T *x, T *values) const {
#pragma unroll
    for (int j = 0; j < 3; j++) values[j] = x[j];
#pragma unroll
    for (int g = 1; g < groups; g++) values[2 + g] = x[3 * g] + x[3 * g + 1] + x[3 * g + 2];
  }
};
