/* Human ventricular cell, epicardial: K. H. W. J. ten Tusscher, A. V. Panfilov, "Alternans and spiral breakup in a human
 * ventricular tissue model", Am. J. Physiol. Heart Circ. Physiol. 291 (2006) H1088-H1100, with the constants of its CellML
 * encoding. Written for speed: no powers, shared exponentials. Units: mV, ms, mM, pA/pF; u is the stimulus in pA/pF. */
#include <math.h>

enum {
  TT_V, TT_KI, TT_NAI, TT_CAI, TT_CASR, TT_CASS, TT_RPRIME, TT_XR1, TT_XR2, TT_XS, TT_M, TT_H, TT_J, TT_D, TT_F, TT_F2,
  TT_FCASS, TT_S, TT_R, TT_STATES
};
enum {
  TT_GNA, TT_GCAL, TT_GTO, TT_GKR, TT_GKS, TT_GK1, TT_KNACA, TT_PNAK, TT_GPCA, TT_GPK, TT_GBNA, TT_GBCA, TT_VMAXUP,
  TT_VREL, TT_VLEAK, TT_PARAMETERS
};

static inline double tt_sigmoid(double z) { return 1.0 / (1.0 + exp(z)); }
static inline double tt_square(double z) { return z * z; }

static void ten_tusscher_rates(const double *x, const double *p, double u, double *dx) {
  const double R = 8314.472, T = 310.0, F = 96485.3415, RTF = R * T / F;
  const double Ko = 5.4, Nao = 140.0, Cao = 2.0, Cm = 0.185, Vc = 0.016404, Vsr = 0.001094, Vss = 0.00005468;
  double V = x[TT_V], Ki = x[TT_KI], Nai = x[TT_NAI], Cai = x[TT_CAI], Cass = x[TT_CASS], Casr = x[TT_CASR];

  double EK = RTF * log(Ko / Ki), ENa = RTF * log(Nao / Nai), ECa = 0.5 * RTF * log(Cao / Cai);
  double EKs = RTF * log((Ko + 0.03 * Nao) / (Ki + 0.03 * Nai));
  double over = V - EK;

  /* potassium */
  double a = 0.1 * tt_sigmoid(0.06 * (over - 200.0));
  double b = (3.0 * exp(0.0002 * (over + 100.0)) + exp(0.1 * (over - 10.0))) * tt_sigmoid(-0.5 * over);
  double IK1 = p[TT_GK1] * a / (a + b) * over; /* sqrt(Ko / 5.4) is 1, here and in IKr */
  double Ito = p[TT_GTO] * x[TT_R] * x[TT_S] * over;
  double IKr = p[TT_GKR] * x[TT_XR1] * x[TT_XR2] * over;
  double IKs = p[TT_GKS] * tt_square(x[TT_XS]) * (V - EKs);
  double IpK = p[TT_GPK] * over * tt_sigmoid((25.0 - V) / 5.98);

  /* sodium and calcium */
  double w = V / RTF, reverse = exp(-0.65 * w);
  double INa = p[TT_GNA] * x[TT_M] * x[TT_M] * x[TT_M] * x[TT_H] * x[TT_J] * (V - ENa);
  double IbNa = p[TT_GBNA] * (V - ENa), IbCa = p[TT_GBCA] * (V - ECa);
  double INaK = p[TT_PNAK] * Ko / (Ko + 1.0) * Nai / (Nai + 40.0) / (1.0 + 0.1245 * exp(-0.1 * w) + 0.0353 * exp(-w));
  double INaCa = p[TT_KNACA] * (exp(0.35 * w) * Nai * Nai * Nai * Cao - reverse * Nao * Nao * Nao * Cai * 2.5) /
                 ((87.5 * 87.5 * 87.5 + Nao * Nao * Nao) * (1.38 + Cao) * (1.0 + 0.1 * reverse));
  double IpCa = p[TT_GPCA] * Cai / (Cai + 0.0005);
  double z = 2.0 * (V - 15.0) / RTF, e = expm1(z);
  double driven = fabs(z) < 1e-12 ? 1.0 : z / e; /* z / (exp(z) - 1) */
  double ICaL = p[TT_GCAL] * x[TT_D] * x[TT_F] * x[TT_F2] * x[TT_FCASS] * 2.0 * F * driven * (0.25 * Cass * (e + 1.0) - Cao);

  /* calcium */
  double load = tt_square(1.5 / Casr), kcasr = 2.5 - 1.5 / (1.0 + load);
  double k1 = 0.15 / kcasr, k2 = 0.045 * kcasr, binding = k1 * Cass * Cass;
  double Irel = p[TT_VREL] * binding * x[TT_RPRIME] / (0.06 + binding) * (Casr - Cass);
  double Iup = p[TT_VMAXUP] / (1.0 + tt_square(0.00025 / Cai)), Ileak = p[TT_VLEAK] * (Casr - Cai);
  double Ixfer = 0.0038 * (Cass - Cai);

  dx[TT_V] = -(IK1 + Ito + IKr + IKs + ICaL + INaK + INa + IbNa + INaCa + IbCa + IpK + IpCa + u);
  dx[TT_KI] = -(IK1 + Ito + IKr + IKs + IpK + u - 2.0 * INaK) * (Cm / (Vc * F));
  dx[TT_NAI] = -(INa + IbNa + 3.0 * INaK + 3.0 * INaCa) * (Cm / (Vc * F));
  dx[TT_CAI] = ((Ileak - Iup) * (Vsr / Vc) + Ixfer - (IbCa + IpCa - 2.0 * INaCa) * (Cm / (2.0 * Vc * F))) /
               (1.0 + 0.2 * 0.001 / tt_square(Cai + 0.001));
  dx[TT_CASR] = (Iup - Irel - Ileak) / (1.0 + 10.0 * 0.3 / tt_square(Casr + 0.3));
  dx[TT_CASS] = (-ICaL * (Cm / (2.0 * Vss * F)) + Irel * (Vsr / Vss) - Ixfer * (Vc / Vss)) /
                (1.0 + 0.4 * 0.00025 / tt_square(Cass + 0.00025));
  dx[TT_RPRIME] = 0.005 * (1.0 - x[TT_RPRIME]) - k2 * Cass * x[TT_RPRIME];

  /* gates: (steady state - gate) / time constant */
#define GATE(which, steady, constant) dx[which] = ((steady) - x[which]) / (constant)
  GATE(TT_XR1, tt_sigmoid((-26.0 - V) / 7.0), 450.0 * tt_sigmoid((-45.0 - V) / 10.0) * 6.0 * tt_sigmoid((V + 30.0) / 11.5));
  GATE(TT_XR2, tt_sigmoid((V + 88.0) / 24.0), 3.0 * tt_sigmoid((-60.0 - V) / 20.0) * 1.12 * tt_sigmoid((V - 60.0) / 20.0));
  GATE(TT_XS, tt_sigmoid((-5.0 - V) / 14.0),
       1400.0 / sqrt(1.0 + exp((5.0 - V) / 6.0)) * tt_sigmoid((V - 35.0) / 15.0) + 80.0);
  GATE(TT_M, tt_square(tt_sigmoid((-56.86 - V) / 9.03)),
       tt_sigmoid((-60.0 - V) / 5.0) * (0.1 * tt_sigmoid((V + 35.0) / 5.0) + 0.1 * tt_sigmoid((V - 50.0) / 200.0)));
  double rest = tt_square(tt_sigmoid((V + 71.55) / 7.43)), h, j;
  if (V < -40.0) {
    h = 0.057 * exp(-(V + 80.0) / 6.8) + 2.7 * exp(0.079 * V) + 310000.0 * exp(0.3485 * V);
    j = (-25428.0 * exp(0.2444 * V) - 6.948e-6 * exp(-0.04391 * V)) * (V + 37.78) * tt_sigmoid(0.311 * (V + 79.23)) +
        0.02424 * exp(-0.01052 * V) * tt_sigmoid(-0.1378 * (V + 40.14));
  } else {
    h = 0.77 / 0.13 * tt_sigmoid((V + 10.66) / -11.1);
    j = 0.6 * exp(0.057 * V) * tt_sigmoid(-0.1 * (V + 32.0));
  }
  dx[TT_H] = (rest - x[TT_H]) * h;
  dx[TT_J] = (rest - x[TT_J]) * j;
  GATE(TT_D, tt_sigmoid((-8.0 - V) / 7.5),
       (1.4 * tt_sigmoid((-35.0 - V) / 13.0) + 0.25) * 1.4 * tt_sigmoid((V + 5.0) / 5.0) + tt_sigmoid((50.0 - V) / 20.0));
  double hump = tt_square(V + 27.0), slow = tt_sigmoid((V + 30.0) / 10.0);
  GATE(TT_F, tt_sigmoid((V + 20.0) / 7.0),
       1102.5 * exp(-hump / 225.0) + 200.0 * tt_sigmoid((13.0 - V) / 10.0) + 180.0 * slow + 20.0);
  GATE(TT_F2, 0.67 * tt_sigmoid((V + 35.0) / 7.0) + 0.33,
       562.0 * exp(-hump / 240.0) + 31.0 * tt_sigmoid((25.0 - V) / 10.0) + 80.0 * slow);
  double held = 1.0 / (1.0 + tt_square(Cass / 0.05));
  GATE(TT_FCASS, 0.6 * held + 0.4, 80.0 * held + 2.0);
  GATE(TT_S, tt_sigmoid((V + 20.0) / 5.0),
       85.0 * exp(-tt_square(V + 45.0) / 320.0) + 5.0 * tt_sigmoid((V - 20.0) / 5.0) + 3.0);
  GATE(TT_R, tt_sigmoid((20.0 - V) / 6.0), 9.5 * exp(-tt_square(V + 40.0) / 1800.0) + 0.8);
#undef GATE
}
