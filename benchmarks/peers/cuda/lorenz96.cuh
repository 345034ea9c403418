// E. N. Lorenz, Predictability: a problem partly solved, ECMWF Seminar on Predictability I (1996) 1-18.
#pragma once
#include "tsit5.cuh"

template <class T, int N> struct Lorenz96 {
  using Number = T;
  using Clock = T;
  using Method = Tsit5<Lorenz96>;
  static constexpr int states = N, outputs = N, columns = 1, groups = 1, stretches = 1;
  static constexpr bool kinks = false;
  T forcing;

  __device__ Lorenz96(const T *columns, long, long i) : forcing(columns[i]) {}
  __device__ __forceinline__ void start(T *x) const {
#pragma unroll(Unroll<N>::count)
    for (int j = 0; j < N; j++) x[j] = forcing;
    x[0] += T(0.01);
  }
  __device__ __forceinline__ T enter(int, T end) const { return end; }
  __device__ __forceinline__ T weight(int) const { return T(1); }

  __device__ __forceinline__ unsigned rates(T, const T *x, T *dx) const {
    T two_before = x[N - 2], before = x[N - 1], here = x[0];
#pragma unroll(Unroll<N>::count)
    for (int j = 0; j < N; j++) {
      T after = x[j + 1 < N ? j + 1 : 0];
      dx[j] = (after - two_before) * before - here + forcing;
      two_before = before, before = here, here = after;
    }
    return 0;
  }
  __device__ __forceinline__ void output(const T *x, T *values) const {
#pragma unroll(Unroll<N>::count)
    for (int j = 0; j < N; j++) values[j] = x[j];
  }
};
