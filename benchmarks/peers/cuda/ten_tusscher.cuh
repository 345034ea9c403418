// Human ventricular cell, epicardial: K. H. W. J. ten Tusscher, A. V. Panfilov, Am. J. Physiol. Heart Circ. Physiol. 291 (2006)
// H1088-H1100, with the constants of its CellML encoding. mV, ms, mM, pA/pF. One beat: -52 pA/pF from 10 to 11 ms.
//
// What depends on the potential is written for a value and for a value with its derivative, which gives the Jacobian's first
// column; the others are written by hand.
#pragma once
#include "dual.cuh"
#include "rodas5p.cuh"
#include "ten_tusscher_factors.cuh"

template <class T> struct TenTusscher {
  enum States {
    V, KI, NAI, CAI, CASR, CASS, RPRIME, XR1, XR2, XS, M, H, GATE_J, D, F, F2, FCASS, S, R, STATES
  };
  enum Parameter {
    GNA, GCAL, GTO, GKR, GKS, GK1, KNACA, PNAK, GPCA, GPK, GBNA, GBCA, VMAXUP, VREL, VLEAK, PARAMETERS
  };
  using Number = T;
  using Clock = double;
  using Method = Rodas5P<TenTusscher>;
  using Factors = TenTusscherFactors<T>;
  static constexpr int states = STATES, outputs = STATES, columns = PARAMETERS, groups = 1, stretches = 3;
  static constexpr bool kinks = true, written_out = false;

  static constexpr double faraday = 96485.3415;
  static constexpr T RTF = T(8314.472 * 310.0 / faraday), Ko = T(5.4), Nao = T(140), Cao = T(2);
  static constexpr T cytoplasm = T(0.185 / (0.016404 * faraday)), subspace = T(0.185 / (2.0 * 0.00005468 * faraday));
  static constexpr T sr_to_c = T(0.001094 / 0.016404), sr_to_ss = T(0.001094 / 0.00005468), c_to_ss = T(0.016404 / 0.00005468);
  static constexpr T furthest = T(250);  // kinetics beyond are those there

  T p[PARAMETERS], stimulus;

  __device__ TenTusscher(const T *given, long trajectories, long i) : stimulus(0) {
#pragma unroll
    for (int j = 0; j < PARAMETERS; j++) p[j] = given[j * trajectories + i];
  }
  __device__ __forceinline__ void start(T *x) const {
    x[V] = T(-85.23), x[KI] = T(136.89), x[NAI] = T(8.604), x[CAI] = T(0.000126), x[CASR] = T(3.64), x[CASS] = T(0.00036);
    x[RPRIME] = T(0.9073), x[XR1] = T(0.00621), x[XR2] = T(0.4712), x[XS] = T(0.0095), x[M] = T(0.00172), x[H] = T(0.7444);
    x[GATE_J] = T(0.7045), x[D] = T(3.373e-5), x[F] = T(0.7888), x[F2] = T(0.9755), x[FCASS] = T(0.9953);
    x[S] = T(0.999998), x[R] = T(2.42e-8);
  }
  __device__ __forceinline__ Clock enter(int stretch, Clock end) {
    stimulus = stretch == 1 ? T(-52) : T(0);
    return stretch == 0 ? smaller(10.0, end) : stretch == 1 ? smaller(11.0, end) : end;
  }
  __device__ __forceinline__ T weight(int) const { return T(1); }

  template <class W> static __device__ __forceinline__ W rising(W v, double half, double slope) {
    return logistic((v - T(half)) * T(1.0 / slope));
  }
  template <class W> static __device__ __forceinline__ W squared(W v) { return v * v; }

  // Currents of one beat: those that a Jacobian needs again.
  template <class W> struct Currents { W K1, NaK; };

  // Rates, and the gates' inverse time constants at their numbers.
  template <class W>
  __device__ __forceinline__ unsigned flow(W potential, const T *x, W *dx, W *per_tau, Currents<W> &shared) const {
    T Ki = x[KI], Nai = x[NAI], Cai = x[CAI], Casr = x[CASR], Cass = x[CASS];
    T EK = RTF * log(Ko / Ki), ENa = RTF * log(Nao / Nai), ECa = T(0.5) * RTF * log(Cao / Cai);
    T EKs = RTF * log((Ko + T(0.03) * Nao) / (Ki + T(0.03) * Nai));
    bool above = value_of(potential) > furthest, under = value_of(potential) < -furthest;
    W v = above ? W(furthest) : under ? W(-furthest) : potential, over = potential - EK, kinetic = v - EK;

    W a = T(0.1) * rising(kinetic, 200.0, -1.0 / 0.06);
    W b = (T(3) * exp(T(0.0002) * (kinetic + T(100))) + exp(T(0.1) * (kinetic - T(10)))) * rising(kinetic, 0.0, 2.0);
    W K1 = p[GK1] * (a / (a + b)) * over;  // sqrt(Ko / 5.4) is 1, here and in Kr
    W to = p[GTO] * x[R] * x[S] * over, Kr = p[GKR] * x[XR1] * x[XR2] * over;
    W Ks = p[GKS] * x[XS] * x[XS] * (potential - EKs), pK = p[GPK] * over * rising(v, 25.0, 5.98);

    W w = v * (T(1) / RTF), backward = exp(T(-0.65) * w);
    W Na = p[GNA] * x[M] * x[M] * x[M] * x[H] * x[GATE_J] * (potential - ENa);
    W bNa = p[GBNA] * (potential - ENa), bCa = p[GBCA] * (potential - ECa);
    W NaK = p[PNAK] * (Ko / (Ko + T(1)) * Nai / (Nai + T(40))) /
            (T(1) + T(0.1245) * exp(T(-0.1) * w) + T(0.0353) * exp(-w));
    W NaCa = p[KNACA] * (exp(T(0.35) * w) * (Nai * Nai * Nai * Cao) - backward * (Nao * Nao * Nao * Cai * T(2.5))) /
             (exchanger_scale() * (T(1) + T(0.1) * backward));
    T pCa = p[GPCA] * Cai / (Cai + T(0.0005));
    W z = (v - T(15)) * (T(2) / RTF), driven = bernoulli(z);
    W CaL = p[GCAL] * x[D] * x[F] * x[F2] * x[FCASS] * T(2.0 * faraday) *
            (T(0.25) * Cass * (driven + z) - Cao * driven);

    T share = Casr * Casr / (Casr * Casr + T(2.25)), kcasr = T(2.5) - T(1.5) * share;
    T binding = T(0.15) / kcasr * Cass * Cass;
    T rel = p[VREL] * binding * x[RPRIME] / (T(0.06) + binding) * (Casr - Cass);
    T up = p[VMAXUP] * Cai * Cai / (Cai * Cai + T(0.00025 * 0.00025)), leak = p[VLEAK] * (Casr - Cai);
    T xfer = T(0.0038) * (Cass - Cai);

    W potassium = K1 + to + Kr + Ks + pK, sodium = Na + bNa;
    dx[V] = -(potassium + CaL + NaK + sodium + NaCa + bCa + (pCa + stimulus));
    dx[KI] = (T(2) * NaK - potassium - stimulus) * cytoplasm;
    dx[NAI] = -(sodium + T(3) * (NaK + NaCa)) * cytoplasm;
    dx[CAI] = (((leak - up) * sr_to_c + xfer) - (bCa + pCa - T(2) * NaCa) * (T(0.5) * cytoplasm)) *
              free_share(Cai, T(0.2), T(0.001));
    dx[CASR] = W((up - rel - leak) * free_share(Casr, T(10), T(0.3)));
    dx[CASS] = ((rel * sr_to_ss - xfer * c_to_ss) - CaL * subspace) * free_share(Cass, T(0.4), T(0.00025));
    dx[RPRIME] = W(T(0.005) * (T(1) - x[RPRIME]) - T(0.045) * kcasr * Cass * x[RPRIME]);
    shared.K1 = K1, shared.NaK = NaK;

    auto gate = [&](int which, W steady, W rate) {
      per_tau[which] = rate;
      dx[which] = (steady - x[which]) * rate;
    };
    gate(XR1, rising(v, -26.0, 7.0), T(1) / (T(2700) * rising(v, -45.0, 10.0) * rising(v, -30.0, -11.5)));
    gate(XR2, rising(v, -88.0, -24.0), T(1) / (T(3.36) * rising(v, -60.0, 20.0) * rising(v, 60.0, -20.0)));
    gate(XS, rising(v, -5.0, 14.0),
         T(1) / (T(1400) * sqrt(rising(v, 5.0, 6.0)) * rising(v, 35.0, -15.0) + T(80)));
    gate(M, squared(rising(v, -56.86, 9.03)),
         T(10) / (rising(v, -60.0, 5.0) * (rising(v, -35.0, -5.0) + rising(v, 50.0, -200.0))));
    bool low = value_of(v) < T(-40);
    W open = squared(rising(v, -71.55, -7.43)), h = v, j = v;
    if (low) {
      h = T(0.057) * exp((v + T(80)) * T(-1.0 / 6.8)) + T(2.7) * exp(T(0.079) * v) + T(310000) * exp(T(0.3485) * v);
      j = (T(-25428) * exp(T(0.2444) * v) - T(6.948e-6) * exp(T(-0.04391) * v)) * (v + T(37.78)) *
              rising(v, -79.23, -1.0 / 0.311) +
          T(0.02424) * exp(T(-0.01052) * v) * rising(v, -40.14, 1.0 / 0.1378);
    } else {
      h = T(0.77 / 0.13) * rising(v, -10.66, 11.1);
      j = T(0.6) * exp(T(0.057) * v) * rising(v, -32.0, 10.0);
    }
    gate(H, open, h);
    gate(GATE_J, open, j);
    gate(D, rising(v, -8.0, 7.5),
         T(1) / ((T(1.4) * rising(v, -35.0, 13.0) + T(0.25)) * T(1.4) * rising(v, -5.0, -5.0) + rising(v, 50.0, 20.0)));
    W hump = squared(v + T(27)), slow = rising(v, -30.0, -10.0);
    gate(F, rising(v, -20.0, -7.0),
         T(1) / (T(1102.5) * exp(hump * T(-1.0 / 225.0)) + T(200) * rising(v, 13.0, 10.0) + T(180) * slow + T(20)));
    gate(F2, T(0.67) * rising(v, -35.0, -7.0) + T(0.33),
         T(1) / (T(562) * exp(hump * T(-1.0 / 240.0)) + T(31) * rising(v, 25.0, 10.0) + T(80) * slow));
    T held = inhibition(Cass);
    gate(FCASS, W(T(0.6) * held + T(0.4)), W(T(1) / (T(80) * held + T(2))));
    gate(S, rising(v, -20.0, -5.0),
         T(1) / (T(85) * exp(squared(v + T(45)) * T(-1.0 / 320.0)) + T(5) * rising(v, 20.0, -5.0) + T(3)));
    gate(R, rising(v, 20.0, 6.0), T(1) / (T(9.5) * exp(squared(v + T(40)) * T(-1.0 / 1800.0)) + T(0.8)));
    return unsigned(low) | unsigned(above) << 1 | unsigned(under) << 2;
  }

  static __device__ __forceinline__ T exchanger_scale() {
    return (T(87.5) * T(87.5) * T(87.5) + Nao * Nao * Nao) * (T(1.38) + Cao);
  }
  static __device__ __forceinline__ T inhibition(T Cass) { return T(1) / (T(1) + squared(Cass * T(20))); }
  // of a small change of total calcium that stays free beside a fast buffer
  static __device__ __forceinline__ T free_share(T calcium, T buffer, T half) {
    return T(1) / (T(1) + buffer * half / squared(calcium + half));
  }
  // the derivative of its logarithm
  static __device__ __forceinline__ T free_slope(T calcium, T buffer, T half) {
    return free_share(calcium, buffer, half) * T(2) * buffer * half / (squared(calcium + half) * (calcium + half));
  }

  __device__ __forceinline__ unsigned rates(T, const T *x, T *dx) const {
    T per_tau[STATES];
    Currents<T> shared;
    return flow<T>(x[V], x, dx, per_tau, shared);
  }

  __device__ __forceinline__ void jacobian(const T *x, Factors &m) const {
#define J(row, column) m.a[Factors::at_##row##_##column]
    using W = Dual<T>;
    W dx[STATES] = {T(0), T(0), T(0), T(0), T(0), T(0), T(0), T(0), T(0), T(0),
                    T(0), T(0), T(0), T(0), T(0), T(0), T(0), T(0), T(0)};
    W per_tau[STATES] = {T(0), T(0), T(0), T(0), T(0), T(0), T(0), T(0), T(0), T(0),
                         T(0), T(0), T(0), T(0), T(0), T(0), T(0), T(0), T(0)};
    Currents<W> shared{T(0), T(0)};
    flow<W>(W(x[V], T(1)), x, dx, per_tau, shared);
    J(V, V) = dx[V].d;
    J(KI, V) = dx[KI].d;
    J(NAI, V) = dx[NAI].d;
    J(CAI, V) = dx[CAI].d;
    J(CASS, V) = dx[CASS].d;
    J(XR1, V) = dx[XR1].d, J(XR1, XR1) = -per_tau[XR1].v;
    J(XR2, V) = dx[XR2].d, J(XR2, XR2) = -per_tau[XR2].v;
    J(XS, V) = dx[XS].d, J(XS, XS) = -per_tau[XS].v;
    J(M, V) = dx[M].d, J(M, M) = -per_tau[M].v;
    J(H, V) = dx[H].d, J(H, H) = -per_tau[H].v;
    J(GATE_J, V) = dx[GATE_J].d, J(GATE_J, GATE_J) = -per_tau[GATE_J].v;
    J(D, V) = dx[D].d, J(D, D) = -per_tau[D].v;
    J(F, V) = dx[F].d, J(F, F) = -per_tau[F].v;
    J(F2, V) = dx[F2].d, J(F2, F2) = -per_tau[F2].v;
    J(FCASS, FCASS) = -per_tau[FCASS].v;
    J(S, V) = dx[S].d, J(S, S) = -per_tau[S].v;
    J(R, V) = dx[R].d, J(R, R) = -per_tau[R].v;

    T Ki = x[KI], Nai = x[NAI], Cai = x[CAI], Casr = x[CASR], Cass = x[CASS], potential = x[V];
    T over = potential - RTF * log(Ko / Ki), over_Na = potential - RTF * log(Nao / Nai);
    T mixed = RTF / (Ki + T(0.03) * Nai), over_Ks = potential - RTF * log((Ko + T(0.03) * Nao) / (Ki + T(0.03) * Nai));
    T v = smaller(larger(potential, -furthest), furthest), w = v / RTF;
    T g_to = p[GTO] * x[R] * x[S], g_Kr = p[GKR] * x[XR1] * x[XR2], g_Ks = p[GKS] * x[XS] * x[XS];

    // by potassium: K1 depends on it and on the potential through their difference alone
    T potassium = (shared.K1.d + g_to + g_Kr + p[GPK] * rising(v, 25.0, 5.98)) * (RTF / Ki) + g_Ks * mixed;
    J(V, KI) = -potassium;
    J(KI, KI) = -potassium * cytoplasm;

    // by sodium
    T scale = p[KNACA] / (exchanger_scale() * (T(1) + T(0.1) * exp(T(-0.65) * w)));
    T NaK = shared.NaK.v * T(40) / (Nai * (Nai + T(40)));
    T NaCa = scale * exp(T(0.35) * w) * T(3) * Nai * Nai * Cao, Ks = T(0.03) * g_Ks * mixed;
    T sodium = (p[GNA] * x[M] * x[M] * x[M] * x[H] * x[GATE_J] + p[GBNA]) * (RTF / Nai);
    T free_c = free_share(Cai, T(0.2), T(0.001)), free_sr = free_share(Casr, T(10), T(0.3));
    T free_ss = free_share(Cass, T(0.4), T(0.00025));
    J(V, NAI) = -(NaK + NaCa + sodium + Ks);
    J(KI, NAI) = (T(2) * NaK - Ks) * cytoplasm;
    J(NAI, NAI) = -(sodium + T(3) * (NaK + NaCa)) * cytoplasm;
    J(CAI, NAI) = NaCa * cytoplasm * free_c;

    // by calcium of the cytoplasm
    T exchanged = -scale * exp(T(-0.65) * w) * (Nao * Nao * Nao * T(2.5));
    T bCa = p[GBCA] * T(0.5) * RTF / Cai, pCa = p[GPCA] * T(0.0005) / squared(Cai + T(0.0005));
    constexpr T half_up = T(0.00025 * 0.00025);
    T up = p[VMAXUP] * T(2) * Cai * half_up / squared(Cai * Cai + half_up);
    J(V, CAI) = -(exchanged + bCa + pCa);
    J(NAI, CAI) = T(-3) * exchanged * cytoplasm;
    J(CAI, CAI) = dx[CAI].v * free_slope(Cai, T(0.2), T(0.001)) +
                  ((-p[VLEAK] - up) * sr_to_c - T(0.0038) - (bCa + pCa - T(2) * exchanged) * (T(0.5) * cytoplasm)) * free_c;
    J(CASR, CAI) = (up + p[VLEAK]) * free_sr;
    J(CASS, CAI) = T(0.0038) * c_to_ss * free_ss;

    // by calcium of the reticulum
    T total = Casr * Casr + T(2.25), kcasr = T(2.5) - T(1.5) * Casr * Casr / total;
    T kcasr_slope = T(-1.5 * 2.0 * 2.25) * Casr / squared(total), binding = T(0.15) / kcasr * Cass * Cass;
    T share = binding / (T(0.06) + binding), share_slope = T(0.06) / squared(T(0.06) + binding), drop = Casr - Cass;
    T rel = p[VREL] * x[RPRIME] * (share - share_slope * binding / kcasr * kcasr_slope * drop);
    J(CAI, CASR) = p[VLEAK] * sr_to_c * free_c;
    J(CASR, CASR) = dx[CASR].v * free_slope(Casr, T(10), T(0.3)) - (rel + p[VLEAK]) * free_sr;
    J(CASS, CASR) = rel * sr_to_ss * free_ss;
    J(RPRIME, CASR) = T(-0.045) * kcasr_slope * Cass * x[RPRIME];

    // by calcium of the subspace
    T z = (v - T(15)) * (T(2) / RTF), driven = bernoulli(z), flux = T(0.25) * Cass * (driven + z) - Cao * driven;
    T g_CaL = p[GCAL] * T(2.0 * faraday), slow = x[F] * x[F2] * x[FCASS], CaL = g_CaL * x[D] * slow * T(0.25) * (driven + z);
    T released = p[VREL] * x[RPRIME] * (share_slope * T(0.3) / kcasr * Cass * drop - share);
    T held = inhibition(Cass), held_slope = -held * held * T(800) * Cass;
    J(V, CASS) = -CaL;
    J(CAI, CASS) = T(0.0038) * free_c;
    J(CASR, CASS) = -released * free_sr;
    J(CASS, CASS) = dx[CASS].v * free_slope(Cass, T(0.4), T(0.00025)) +
                    (released * sr_to_ss - T(0.0038) * c_to_ss - CaL * subspace) * free_ss;
    J(RPRIME, CASS) = T(-0.045) * kcasr * x[RPRIME];
    J(FCASS, CASS) = (T(0.6) - T(80) * dx[FCASS].v) * per_tau[FCASS].v * held_slope;

    // by the receptor and by the gates
    T opened = p[VREL] * share * drop;
    J(CASR, RPRIME) = -opened * free_sr;
    J(CASS, RPRIME) = opened * sr_to_ss * free_ss;
    J(RPRIME, RPRIME) = T(-0.005) - T(0.045) * kcasr * Cass;
    T of_Xr1 = p[GKR] * x[XR2] * over, of_Xr2 = p[GKR] * x[XR1] * over, of_Xs = T(2) * p[GKS] * x[XS] * over_Ks;
    J(V, XR1) = -of_Xr1, J(KI, XR1) = -of_Xr1 * cytoplasm;
    J(V, XR2) = -of_Xr2, J(KI, XR2) = -of_Xr2 * cytoplasm;
    J(V, XS) = -of_Xs, J(KI, XS) = -of_Xs * cytoplasm;
    T of_h = p[GNA] * x[M] * x[M] * x[M] * x[GATE_J] * over_Na, of_j = p[GNA] * x[M] * x[M] * x[M] * x[H] * over_Na;
    T of_m = T(3) * p[GNA] * x[M] * x[M] * x[H] * x[GATE_J] * over_Na;
    J(V, M) = -of_m, J(NAI, M) = -of_m * cytoplasm;
    J(V, H) = -of_h, J(NAI, H) = -of_h * cytoplasm;
    J(V, GATE_J) = -of_j, J(NAI, GATE_J) = -of_j * cytoplasm;
    T of_d = g_CaL * flux * slow, of_f = g_CaL * flux * x[D] * x[F2] * x[FCASS];
    T of_f2 = g_CaL * flux * x[D] * x[F] * x[FCASS], of_fCass = g_CaL * flux * x[D] * x[F] * x[F2];
    J(V, D) = -of_d, J(CASS, D) = -of_d * subspace * free_ss;
    J(V, F) = -of_f, J(CASS, F) = -of_f * subspace * free_ss;
    J(V, F2) = -of_f2, J(CASS, F2) = -of_f2 * subspace * free_ss;
    J(V, FCASS) = -of_fCass, J(CASS, FCASS) = -of_fCass * subspace * free_ss;
    T of_s = p[GTO] * x[R] * over, of_r = p[GTO] * x[S] * over;
    J(V, S) = -of_s, J(KI, S) = -of_s * cytoplasm;
    J(V, R) = -of_r, J(KI, R) = -of_r * cytoplasm;
#undef J
  }
  __device__ __forceinline__ void output(const T *x, T *values) const {
#pragma unroll
    for (int j = 0; j < STATES; j++) values[j] = x[j];
  }
};
