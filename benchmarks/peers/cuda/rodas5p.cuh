// Rodas5P: G. Steinebach, Construction of Rosenbrock-Wanner method Rodas5P and numerical benchmarks within the Julia Differential
// Equations package, BIT Numer. Math. 63 (2023) 27. For rates that do not depend on time.
//
// A problem gives besides: Factors (written by elimination.py) and jacobian(x, factors), which writes its entries; written_out,
// whether the stages' loop is.
#pragma once
#include "control.cuh"

// weights of earlier stages in a stage's argument, and on its right-hand side
template <class T>
__constant__ T rodas_arguments[8][8] = {
    {},
    {T(3.0)},
    {T(2.849394379747939), T(0.45842242204463923)},
    {T(-6.954028509809101), T(2.489845061869568), T(-10.358996098473584)},
    {T(2.8029986275628964), T(0.5072464736228206), T(-0.3988312541770524), T(-0.04721187230404641)},
    {T(-7.502846399306121), T(2.561846144803919), T(-11.627539656261098), T(-0.18268767659942256),
     T(0.030198172008377946)},
    {T(-7.502846399306121), T(2.561846144803919), T(-11.627539656261098), T(-0.18268767659942256),
     T(0.030198172008377946), T(1)},
    {T(-7.502846399306121), T(2.561846144803919), T(-11.627539656261098), T(-0.18268767659942256),
     T(0.030198172008377946), T(1), T(1)},
};
template <class T>
__constant__ T rodas_coupling[8][8] = {
    {},
    {T(-14.155112264123755)},
    {T(-17.97296035885952), T(-2.859693295451294)},
    {T(147.12150275711716), T(-1.41221402718213), T(71.68940251302358)},
    {T(165.43517024871676), T(-0.4592823456491126), T(42.90938336958603), T(-5.961986721573306)},
    {T(24.854864614690072), T(-3.0009227002832186), T(47.4931110020768), T(5.5814197821558125), T(-0.6610691825249471)},
    {T(30.91273214028599), T(-3.1208243349937974), T(77.79954646070892), T(34.28646028294783), T(-19.097331116725623),
     T(-28.087943162872662)},
    {T(37.80277123390563), T(-3.2571969029072276), T(112.26918849496327), T(66.9347231244047), T(-40.06618937091002),
     T(-54.66780262877968), T(-9.48861652309627)},
};

template <class Problem> struct Rodas5P {
  using T = typename Problem::Number;
  using C = typename Problem::Clock;
  static constexpr int N = Problem::states, stages = 8, written = Problem::written_out ? stages : 1;
  // of the estimate, which is that of the solution of order 4 (CAUTION of vht/solve/stiff.py)
  static constexpr T caution = T(0.5);
  static constexpr T underestimate = T(30.29615963947919);
  // exponents of the controller
  static constexpr double now = 0.8, before = 0.2;

  __device__ __forceinline__ void begin(const Problem &, C, const T *) {}

  __device__ __forceinline__ C first_step(const Problem &p, C t, C span, const T *x, Tolerance<T> tolerance) const {
    T k[N];
    p.rates(T(t), x, k);
    return ::first_step(p, t, span, x, k, tolerance);
  }

  __device__ __forceinline__ T attempt(const Problem &p, C t, C taken, C, const T *x, T *y, Tolerance<T> tolerance,
                                       bool &across) {
    typename Problem::Factors factors;
    T u[stages][N], right[N], per_step = T(1) / T(taken);
    unsigned piece = 0;
    p.jacobian(x, factors);
    factors.factor(per_step * T(1.0 / 0.21193756319429014));
#pragma unroll(written)
    for (int i = 0; i < stages; i++) {
      T coupled[N];
#pragma unroll
      for (int k = 0; k < N; k++) y[k] = x[k], coupled[k] = T(0);
      // where written out, of constant length
#pragma unroll(written)
      for (int j = 0; j < (Problem::written_out ? stages : i); j++) {
        if (j >= i) continue;
        T a = rodas_arguments<T>[i][j], c = rodas_coupling<T>[i][j];
#pragma unroll
        for (int k = 0; k < N; k++) y[k] += a * u[j][k], coupled[k] += c * u[j][k];
      }
      unsigned found = p.rates(T(t), y, right);
      if (i == 0)
        piece = found;
      else
        across |= found != piece;
#pragma unroll
      for (int k = 0; k < N; k++) right[k] += coupled[k] * per_step;
      factors.solve(right);
#pragma unroll
      for (int k = 0; k < N; k++) u[i][k] = right[k];
    }
    // the last stage is the estimate of the error as well
#pragma unroll
    for (int k = 0; k < N; k++) y[k] += right[k];
    return mean_square(p, right, x, y, tolerance) * (caution * caution);
  }

  __device__ __forceinline__ void accept() {}
};
