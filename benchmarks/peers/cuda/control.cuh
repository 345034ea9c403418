// The loop over one trajectory: step sizes by the controller of vht/solve/controller.py, with its error norm and its handling of
// kinks in the rates, so that both take the same steps; steps of equal size as well.
//
// A problem gives: Number, Clock (the type of time), states, outputs, columns, groups (of states, each with its own mean
// square), kinks (whether rates() tells smooth pieces apart), stretches (of constant input), and
//   Problem(columns, trajectories, i)   its numbers, from columns of all trajectories
//   start(x), enter(stretch, end)       the initial state; the next stretch, returns its end
//   rates(t, x, dx)                     returns a number that changes where the rates have a kink
//   weight(group)                       what atol is multiplied with
//   output(x, values)
#pragma once
#include "device.cuh"
#include "job.h"
#include "rk4.cuh"
#include "rough.cuh"

namespace control {
constexpr double floor_ulps = 16.0, floor_share = 1e-12, reach = 1e-3;
constexpr float safety = 0.9f, keep = 0.95f, shrink = 0.2f, grow = 10.0f, shrink_non_finite = 0.1f, least_log = -26.0f;
constexpr double least = 1e-30, most = 1e30;
constexpr int order = 5;  // of both methods, which differ in the exponents of the controller
enum Status { ok, too_many_steps, step_too_small, not_finite };
}  // namespace control

template <class T> struct Tolerance { T rtol, atol; };

// The mean square of a vector over the tolerance at two states, the largest of all groups.
template <class Problem, class T = typename Problem::Number>
__device__ __forceinline__ T mean_square(const Problem &p, const T *v, const T *a, const T *b, Tolerance<T> tolerance) {
  constexpr int size = Problem::states / Problem::groups, some = Unroll<size>::count;
  T worst = 0;
#pragma unroll
  for (int g = 0; g < Problem::groups; g++) {
    T total = 0, atol = tolerance.atol * p.weight(g);
#pragma unroll(some)
    for (int j = g * size; j < (g + 1) * size; j++) {
      T ratio = v[j] * rough::reciprocal(atol + tolerance.rtol * larger(fabs(a[j]), fabs(b[j])));
      total += ratio * ratio;
    }
    total *= T(1.0 / size);
    worst = total > worst || total != total ? total : worst;  // NaN must not be lost
  }
  return worst;
}

// A first step: E. Hairer, S. P. Norsett, G. Wanner, Solving Ordinary Differential Equations I, II.4.
template <class Problem, class T = typename Problem::Number, class C = typename Problem::Clock>
__device__ C first_step(const Problem &p, C t, C span, const T *x, const T *k, Tolerance<T> tolerance) {
  constexpr int N = Problem::states, some = Unroll<N>::count;
  T d0 = sqrt(mean_square(p, x, x, x, tolerance)), d1 = sqrt(mean_square(p, k, x, x, tolerance));
  bool tiny = d0 < T(1e-5) || d1 < T(1e-5);
  T first = smaller(tiny ? T(1e-6) * T(span) : T(0.01) * d0 / d1, T(span));
  T ahead[N], change[N];
#pragma unroll(some)
  for (int j = 0; j < N; j++) ahead[j] = x[j] + first * k[j];
  p.rates(T(t + C(first)), ahead, change);
#pragma unroll(some)
  for (int j = 0; j < N; j++) change[j] -= k[j];
  T d2 = sqrt(mean_square(p, change, x, x, tolerance)) / first;
  T steepest = larger(d1, d2), guess = exp(log(steepest * T(100)) * T(-1.0 / control::order));
  guess = steepest <= T(1e-15) ? T(span) : tiny ? guess : smaller(T(100) * first, guess);
  if (!(d2 < infinity<T>())) guess = T(1e-3) * first;  // the trial was too long
  return C(guess);
}

// The least step that is tried at a time on the way to a stop.
template <class C> __device__ __forceinline__ C least_step(C t, C stop) {
  return C(control::floor_ulps) * Epsilon<C>::value * larger(t, C(control::floor_share) * stop);
}

template <class Problem> struct Arguments {
  Settings settings;
  long trajectories;
  const typename Problem::Number *__restrict__ columns;  // [columns][trajectories]
  typename Problem::Number *__restrict__ values;         // [outputs][trajectories]
  int *__restrict__ counts;                              // status, steps tried, steps rejected: [3][trajectories]

  __device__ __forceinline__ void write(const Problem &p, long i, const typename Problem::Number *x, int status, int tried,
                                        int rejected) const {
    typename Problem::Number found[Problem::outputs];
    p.output(x, found);
#pragma unroll(Unroll<Problem::outputs>::count)
    for (int j = 0; j < Problem::outputs; j++) values[j * trajectories + i] = found[j];
    counts[i] = status;
    counts[trajectories + i] = tried;
    counts[2 * trajectories + i] = rejected;
  }
};

__device__ __forceinline__ long own_trajectory() { return long(blockIdx.x) * blockDim.x + threadIdx.x; }

template <class Problem> __global__ void __launch_bounds__(256) adaptive(Arguments<Problem> given) {
  using T = typename Problem::Number;
  using C = typename Problem::Clock;
  constexpr int N = Problem::states, some = Unroll<N>::count;
  long i = own_trajectory();
  if (i >= given.trajectories) return;
  const Settings &s = given.settings;
  Tolerance<T> tolerance{T(s.rtol), T(s.atol)};
  Problem p(given.columns, given.trajectories, i);
  typename Problem::Method method;
  T x[N], y[N];
  float log_error = 0.0f;
  C t = 0, h = C(s.first_step), last = C(s.end);
  int tried = 0, rejected = 0, status = control::ok;
  p.start(x);
  for (int stretch = 0; stretch < Problem::stretches && t < last && status == control::ok; stretch++) {
    C stop = p.enter(stretch, last);
    method.begin(p, t, x);
    if (stretch > 0 || h <= C(0)) {
      C guess = method.first_step(p, t, stop - t, x, tolerance);
      h = h > C(0) ? smaller(h, guess) : guess;
    }
    if (h < least_step(t, stop)) h = least_step(t, stop);  // NaN stays
    while (t < stop && status == control::ok) {
      // two equal steps rather than a long and a very short one
      C left = stop - t;
      C end = h * C(1.0 + control::reach) >= left ? stop : t + (h + h > left ? C(0.5) * left : h);
      C taken = end - t;
      bool across = false, located = false, least = false;
      T square = method.attempt(p, t, taken, end, x, y, tolerance, across);
      tried++;
      C floor = least_step(t, stop);
      if (Problem::kinks) {
        if (across) square *= Problem::Method::underestimate * Problem::Method::underestimate;
        least = taken <= C(1.5) * floor;
        located = across && square < infinity<T>() && (log_error < 0.0f || t == C(0));
      }
      bool finite = square < infinity<T>(), accepted = square <= T(1) || (located && least);
      T bounded = square > T(control::least) ? (square < T(control::most) ? square : T(control::most)) : T(control::least);
      float log_now = rough::log2(float(bounded));
      float exponent = log_now * float(-0.5 * Problem::Method::now / control::order) +
                       log_error * float(0.5 * Problem::Method::before / control::order);
      float factor = control::safety * rough::exp2(exponent);
      factor = smaller(larger(factor, accepted ? control::keep : control::shrink), control::grow);
      if (!finite) factor = control::shrink_non_finite;
      C next = taken * C(factor);
      if (accepted) {
        // a step cut short says nothing against the size that was meant; one that the clock's last bit shortened does
        if (end < t + h) next = larger(next, h);
        log_error = smaller(larger(log_now, control::least_log), 0.0f);
        t = end;
#pragma unroll(some)
        for (int j = 0; j < N; j++) x[j] = y[j];
        method.accept();
      } else {
        rejected++;
        if (!(next >= floor || (located && !least))) status = finite ? control::step_too_small : control::not_finite;
      }
      h = larger(next, floor);
      if (status == control::ok && tried >= s.max_steps && t < last) status = control::too_many_steps;
    }
  }
  given.write(p, i, x, status, tried, rejected);
}

// Steps of equal size.
template <class Problem, class Method> __device__ __forceinline__ void march(const Arguments<Problem> &given) {
  using T = typename Problem::Number;
  using C = typename Problem::Clock;
  constexpr int N = Problem::states;
  long i = own_trajectory();
  if (i >= given.trajectories) return;
  Problem p(given.columns, given.trajectories, i);
  Method method;
  T x[N];
  int steps = given.settings.steps;
  C h = C(given.settings.end / steps);
  p.start(x);
  p.enter(0, C(given.settings.end));
  method.begin(p, C(0), x);
#pragma unroll 1
  for (int k = 0; k < steps; k++) method.advance(p, C(k) * h, h, x);
  bool finite = true;
#pragma unroll(Unroll<N>::count)
  for (int j = 0; j < N; j++) finite = finite && fabs(x[j]) < infinity<T>();
  given.write(p, i, x, finite ? control::ok : control::not_finite, steps, 0);
}

template <class Problem> __global__ void __launch_bounds__(256) fixed(Arguments<Problem> given) {
  march<Problem, typename Problem::Method>(given);
}

template <class Problem> __global__ void __launch_bounds__(256) rk4(Arguments<Problem> given) {
  march<Problem, Rk4<Problem>>(given);
}
