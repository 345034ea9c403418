// Four-chamber closed-loop circulation: F. Regazzoni et al., J. Comput. Phys. 457 (2022) 111083. What can be divided beforehand
// is divided beforehand.
#pragma once
#include "names.h"
#include "tsit5.cuh"

template <class T> struct Circulation {
  using Number = T;
  using Clock = double;  // ten beats to the resolution of kinks
  using Method = Tsit5<Circulation>;
  static constexpr int states = STATES, outputs = STATES, columns = PARAMETERS, groups = 1, stretches = 1;
  static constexpr bool kinks = true;

  struct Chamber {
    T active, passive, rest;
    __device__ __forceinline__ T pressure(T activation, T volume) const {
      return (passive + active * activation) * (volume - rest);
    }
  };
  struct Vessel { T resistance, per_compliance, per_inertance; };

  struct Timing {
    T onset, rise, per_rise, per_fall;
    // Share of full contraction; what tells its pieces apart takes 12 bits.
    __device__ __forceinline__ T activation(T periods, unsigned &piece) const {
      T beats = periods - onset, whole = floor(beats), phase = beats - whole;
      bool contracting = phase < rise;
      T relaxing = T(1) + (phase - rise) * per_fall;
      bool resting = relaxing > T(2);
      T turns = contracting ? phase * per_rise : resting ? T(2) : relaxing;
      piece = piece << 12 | (unsigned(int(whole)) & 0x3ff) << 2 | unsigned(contracting) << 1 | unsigned(resting);
      return T(0.5) - T(0.5) * cospi(turns);
    }
  };

  T frequency, open, closed;
  Timing atria, ventricles;
  Chamber la, lv, ra, rv;
  Vessel arteries, veins, lung_arteries, lung_veins;

  struct Reader {
    const T *columns;
    long trajectories, i;
    __device__ __forceinline__ T operator()(int which) const { return columns[which * trajectories + i]; }
    __device__ __forceinline__ Chamber chamber(int first) const {
      return {(*this)(first), (*this)(first + 1), (*this)(first + 2)};
    }
    __device__ __forceinline__ Vessel vessel(int first) const {
      return {(*this)(first), T(1) / (*this)(first + 1), T(1) / (*this)(first + 2)};
    }
    __device__ __forceinline__ Timing timing(int first) const {
      return {(*this)(first), (*this)(first + 1), T(1) / (*this)(first + 1), T(1) / (*this)(first + 2)};
    }
  };

  __device__ Circulation(const T *given, long trajectories, long i) {
    Reader p{given, trajectories, i};
    frequency = T(1) / p(T_HB), open = T(1) / p(RMIN), closed = T(1) / p(RMAX);
    atria = p.timing(TON_A), ventricles = p.timing(TON_V);
    la = p.chamber(EA_LA), lv = p.chamber(EA_LV), ra = p.chamber(EA_RA), rv = p.chamber(EA_RV);
    arteries = p.vessel(R_AR_SYS), veins = p.vessel(R_VEN_SYS);
    lung_arteries = p.vessel(R_AR_PUL), lung_veins = p.vessel(R_VEN_PUL);
  }

  __device__ __forceinline__ void start(T *x) const {
    x[V_LA] = T(65), x[V_LV] = T(120), x[V_RA] = T(65), x[V_RV] = T(145);
    x[P_AR_SYS] = T(80), x[P_VEN_SYS] = T(30), x[P_AR_PUL] = T(35), x[P_VEN_PUL] = T(24);
    x[Q_AR_SYS] = x[Q_VEN_SYS] = x[Q_AR_PUL] = x[Q_VEN_PUL] = T(0);
  }
  __device__ __forceinline__ Clock enter(int, Clock end) const { return end; }
  __device__ __forceinline__ T weight(int) const { return T(1); }

  __device__ __forceinline__ T valve(T before, T behind, unsigned &piece) const {
    T drop = before - behind;
    bool forwards = before > behind;
    piece = piece << 1 | unsigned(forwards);
    return drop * (forwards ? open : closed);
  }

  __device__ __forceinline__ unsigned rates(T t, const T *x, T *dx) const {
    unsigned piece = 0;
    T periods = t * frequency;
    T atrial = atria.activation(periods, piece), ventricular = ventricles.activation(periods, piece);
    T p_la = la.pressure(atrial, x[V_LA]), p_lv = lv.pressure(ventricular, x[V_LV]);
    T p_ra = ra.pressure(atrial, x[V_RA]), p_rv = rv.pressure(ventricular, x[V_RV]);
    T mitral = valve(p_la, p_lv, piece), aortic = valve(p_lv, x[P_AR_SYS], piece);
    T tricuspid = valve(p_ra, p_rv, piece), pulmonary = valve(p_rv, x[P_AR_PUL], piece);
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
    return piece;
  }
  __device__ __forceinline__ void output(const T *x, T *values) const {
#pragma unroll
    for (int j = 0; j < STATES; j++) values[j] = x[j];
  }
};
