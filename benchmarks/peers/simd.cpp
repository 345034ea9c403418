// The circulation of circulation.h written by hand for speed: fixed steps, one twin in each slot of a vector register,
// all cores. Built by simd.py. What can be divided beforehand is divided beforehand; the activation is a polynomial.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "names.h"

namespace {

#if defined(__AVX512F__)
constexpr int register_bytes = 64;
#elif defined(__AVX__)
constexpr int register_bytes = 32;
#else
constexpr int register_bytes = 16;
#endif

template <class T> struct Lanes;
template <> struct Lanes<double> { typedef double V __attribute__((vector_size(register_bytes))); };
template <> struct Lanes<float> { typedef float V __attribute__((vector_size(register_bytes))); };

template <class T> struct Circulation {
  using V = typename Lanes<T>::V;
  static constexpr int width = register_bytes / sizeof(T);

  static V broadcast(T value) { return value - V{}; }

  static V floor(V x) {
    V y;
    for (int i = 0; i < width; i++) y[i] = __builtin_floor(x[i]);
    return y;
  }
  static V floor_single(V x) {
    V y;
    for (int i = 0; i < width; i++) y[i] = __builtin_floorf(x[i]);
    return y;
  }

  struct Chamber { V active, passive, rest; };
  struct Vessel { V resistance, per_compliance, per_inertance; };

  struct Timing {
    V frequency, onset, rise, per_rise, per_fall;

    // Full contraction is 1: cos^2 of a quarter turn times the distance from it, in units of the rise and of the fall.
    V activation(T t) const {
      V beats = t * frequency - onset;
      V phase = beats - (sizeof(T) == 4 ? floor_single(beats) : floor(beats)) - rise;
      V away = phase < 0 ? -phase * per_rise : phase * per_fall;
      away = away < 1 ? away : broadcast(1);
      V square = away * away;
      V cosine = quarter(square);
      return cosine * cosine;
    }

    // cos(pi/2 sqrt(z)) for z in [0, 1]: its Taylor series, to the last bit but one
    static V quarter(V z) {
      const T half_pi_squared = T(2.467401100272339654708622749969038);
      z *= half_pi_squared;
      constexpr int terms = sizeof(T) == 4 ? 6 : 11;
      T coefficient[terms];
      coefficient[0] = 1;
      for (int i = 1; i < terms; i++) coefficient[i] = -coefficient[i - 1] / T((2 * i - 1) * (2 * i));
      V sum = broadcast(coefficient[terms - 1]);
      for (int i = terms - 2; i >= 0; i--) sum = sum * z + coefficient[i];
      return sum;
    }
  };

  Timing atria, ventricles;
  Chamber la, lv, ra, rv;
  Vessel arteries, veins, lung_arteries, lung_veins;
  V open, closed;  // conductance of a valve

  // One parameter of the twins of a block; the last twin fills up an incomplete block.
  struct Reader {
    const double *parameters;
    long first, twins;
    V operator()(int which) const {
      V v;
      for (int i = 0; i < width; i++) {
        long twin = first + i < twins ? first + i : twins - 1;
        v[i] = T(parameters[twin * PARAMETERS + which]);
      }
      return v;
    }
  };

  explicit Circulation(const Reader &p)
      : atria{1 / p(T_HB), p(TON_A), p(TC_A), 1 / p(TC_A), 1 / p(TR_A)},
        ventricles{1 / p(T_HB), p(TON_V), p(TC_V), 1 / p(TC_V), 1 / p(TR_V)},
        la{p(EA_LA), p(EB_LA), p(V0_LA)}, lv{p(EA_LV), p(EB_LV), p(V0_LV)},
        ra{p(EA_RA), p(EB_RA), p(V0_RA)}, rv{p(EA_RV), p(EB_RV), p(V0_RV)},
        arteries{p(R_AR_SYS), 1 / p(C_AR_SYS), 1 / p(L_AR_SYS)}, veins{p(R_VEN_SYS), 1 / p(C_VEN_SYS), 1 / p(L_VEN_SYS)},
        lung_arteries{p(R_AR_PUL), 1 / p(C_AR_PUL), 1 / p(L_AR_PUL)},
        lung_veins{p(R_VEN_PUL), 1 / p(C_VEN_PUL), 1 / p(L_VEN_PUL)}, open(1 / p(RMIN)), closed(1 / p(RMAX)) {}

  struct Drive { V atria, ventricles; };
  Drive drive(T t) const { return {atria.activation(t), ventricles.activation(t)}; }

  V valve(V before, V behind) const {
    V drop = before - behind;
    return drop * (drop > 0 ? open : closed);
  }

  void rates(const Drive &d, const V *x, V *dx) const {
    V p_la = (la.passive + la.active * d.atria) * (x[V_LA] - la.rest);
    V p_lv = (lv.passive + lv.active * d.ventricles) * (x[V_LV] - lv.rest);
    V p_ra = (ra.passive + ra.active * d.atria) * (x[V_RA] - ra.rest);
    V p_rv = (rv.passive + rv.active * d.ventricles) * (x[V_RV] - rv.rest);
    V mitral = valve(p_la, p_lv), aortic = valve(p_lv, x[P_AR_SYS]);
    V tricuspid = valve(p_ra, p_rv), pulmonary = valve(p_rv, x[P_AR_PUL]);
    dx[V_LA] = x[Q_VEN_PUL] - mitral;
    dx[V_LV] = mitral - aortic;
    dx[V_RA] = x[Q_VEN_SYS] - tricuspid;
    dx[V_RV] = tricuspid - pulmonary;
    dx[P_AR_SYS] = (aortic - x[Q_AR_SYS]) * arteries.per_compliance;
    dx[P_VEN_SYS] = (x[Q_AR_SYS] - x[Q_VEN_SYS]) * veins.per_compliance;
    dx[P_AR_PUL] = (pulmonary - x[Q_AR_PUL]) * lung_arteries.per_compliance;
    dx[P_VEN_PUL] = (x[Q_AR_PUL] - x[Q_VEN_PUL]) * lung_veins.per_compliance;
    dx[Q_AR_SYS] = (x[P_AR_SYS] - x[P_VEN_SYS] - arteries.resistance * x[Q_AR_SYS]) * arteries.per_inertance;
    dx[Q_VEN_SYS] = (x[P_VEN_SYS] - p_ra - veins.resistance * x[Q_VEN_SYS]) * veins.per_inertance;
    dx[Q_AR_PUL] = (x[P_AR_PUL] - x[P_VEN_PUL] - lung_arteries.resistance * x[Q_AR_PUL]) * lung_arteries.per_inertance;
    dx[Q_VEN_PUL] = (x[P_VEN_PUL] - p_la - lung_veins.resistance * x[Q_VEN_PUL]) * lung_veins.per_inertance;
  }
};

// The classical method of order 4.
template <class T> struct RK4 {
  using Model = Circulation<T>;
  using V = typename Model::V;
  typename Model::Drive begin;
  RK4(const Model &model, T t, const V *) : begin(model.drive(t)) {}

  void step(const Model &model, double t, double h, V *x) {
    V k1[STATES], k2[STATES], k3[STATES], k4[STATES], y[STATES];
    auto middle = model.drive(T(t + 0.5 * h)), end = model.drive(T(t + h));
    T half = T(0.5 * h), full = T(h), sixth = T(h / 6), third = T(h / 3);
    model.rates(begin, x, k1);
    for (int i = 0; i < STATES; i++) y[i] = x[i] + half * k1[i];
    model.rates(middle, y, k2);
    for (int i = 0; i < STATES; i++) y[i] = x[i] + half * k2[i];
    model.rates(middle, y, k3);
    for (int i = 0; i < STATES; i++) y[i] = x[i] + full * k3[i];
    model.rates(end, y, k4);
    for (int i = 0; i < STATES; i++) x[i] += sixth * (k1[i] + k4[i]) + third * (k2[i] + k3[i]);
    begin = end;
  }
};

// Ch. Tsitouras, Comput. Math. Appl. 62 (2011) 770-775; the last stage is the next step's first.
template <class T> struct Tsit5 {
  using Model = Circulation<T>;
  using V = typename Model::V;
  V k1[STATES];
  Tsit5(const Model &model, T t, const V *x) { model.rates(model.drive(t), x, k1); }

  void step(const Model &model, double t, double h, V *x) {
    V k2[STATES], k3[STATES], k4[STATES], k5[STATES], k6[STATES], y[STATES];
    auto w = [h](double a) { return T(h * a); };
    {
      T a = w(0.161);
      for (int i = 0; i < STATES; i++) y[i] = x[i] + a * k1[i];
      model.rates(model.drive(T(t + 0.161 * h)), y, k2);
    }
    {
      T a = w(-0.008480655492356989), b = w(0.335480655492357);
      for (int i = 0; i < STATES; i++) y[i] = x[i] + a * k1[i] + b * k2[i];
      model.rates(model.drive(T(t + 0.327 * h)), y, k3);
    }
    {
      T a = w(2.8971530571054935), b = w(-6.359448489975075), c = w(4.3622954328695815);
      for (int i = 0; i < STATES; i++) y[i] = x[i] + a * k1[i] + b * k2[i] + c * k3[i];
      model.rates(model.drive(T(t + 0.9 * h)), y, k4);
    }
    {
      T a = w(5.325864828439257), b = w(-11.748883564062828), c = w(7.4955393428898365), d = w(-0.09249506636175525);
      for (int i = 0; i < STATES; i++) y[i] = x[i] + a * k1[i] + b * k2[i] + c * k3[i] + d * k4[i];
      model.rates(model.drive(T(t + 0.9800255409045097 * h)), y, k5);
    }
    auto end = model.drive(T(t + h));
    {
      T a = w(5.86145544294642), b = w(-12.92096931784711), c = w(8.159367898576159), d = w(-0.071584973281401);
      T e = w(-0.028269050394068383);
      for (int i = 0; i < STATES; i++) y[i] = x[i] + a * k1[i] + b * k2[i] + c * k3[i] + d * k4[i] + e * k5[i];
      model.rates(end, y, k6);
    }
    {
      T a = w(0.09646076681806523), b = w(0.01), c = w(0.4798896504144996), d = w(1.379008574103742);
      T e = w(-3.2900695154360807), f = w(2.324710524099774);
      for (int i = 0; i < STATES; i++)
        x[i] += a * k1[i] + b * k2[i] + c * k3[i] + d * k4[i] + e * k5[i] + f * k6[i];
      model.rates(end, x, k1);
    }
  }
};

template <class T, template <class> class Method>
void solve(long twins, const double *parameters, const double *initial, long saves, double start, double interval,
           long steps, T *values) {
  using Model = Circulation<T>;
  using V = typename Model::V;
  constexpr int width = Model::width;
  long blocks = (twins + width - 1) / width;
  double h = interval / double(steps);
#pragma omp parallel for schedule(dynamic)
  for (long block = 0; block < blocks; block++) {
    long first = block * width;
    Model model(typename Model::Reader{parameters, first, twins});
    V x[STATES];
    for (int j = 0; j < STATES; j++)
      for (int i = 0; i < width; i++) {
        long twin = first + i < twins ? first + i : twins - 1;
        x[j][i] = T(initial[twin * STATES + j]);
      }
    Method<T> method(model, T(start), x);
    for (long save = 0; save < saves; save++) {
      if (save > 0) {
        double begin = start + double(save - 1) * interval;
        for (long k = 0; k < steps; k++) method.step(model, begin + double(k) * h, h, x);
      }
      for (int i = 0; i < width && first + i < twins; i++)
        for (int j = 0; j < STATES; j++) values[((first + i) * saves + save) * STATES + j] = x[j][i];
    }
  }
}

}  // namespace

extern "C" {

void simd_rates(double t, const double *state, const double *parameters, double *rates) {
  using Model = Circulation<double>;
  Model model(typename Model::Reader{parameters, 0, 1});
  Model::V x[STATES], dx[STATES];
  for (int j = 0; j < STATES; j++) x[j] = Model::broadcast(state[j]);
  model.rates(model.drive(t), x, dx);
  for (int j = 0; j < STATES; j++) rates[j] = dx[j][0];
}

int simd_width(int bytes) { return register_bytes / bytes; }

// values [twins][saves][STATES], saves at start + interval * 0, 1, ...; `steps` of equal size from one to the next.
// method 4 is RK4, 5 is Tsit5; bytes is the size of a number, 4 or 8.
void simd_solve(int method, int bytes, long twins, const double *parameters, const double *initial, long saves,
                double start, double interval, long steps, void *values) {
  if (bytes == 8 && method == 4)
    solve<double, RK4>(twins, parameters, initial, saves, start, interval, steps, static_cast<double *>(values));
  else if (bytes == 8)
    solve<double, Tsit5>(twins, parameters, initial, saves, start, interval, steps, static_cast<double *>(values));
  else if (method == 4)
    solve<float, RK4>(twins, parameters, initial, saves, start, interval, steps, static_cast<float *>(values));
  else
    solve<float, Tsit5>(twins, parameters, initial, saves, start, interval, steps, static_cast<float *>(values));
}
}
