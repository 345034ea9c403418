/* Four-chamber closed-loop circulation: F. Regazzoni, M. Salvador, P. C. Africa, M. Fedele, L. Dede', A. Quarteroni,
 * "A cardiac electromechanical model coupled with a lumped-parameter model for closed-loop blood circulation",
 * J. Comput. Phys. 457 (2022) 111083, written from the paper's equations.
 *
 * Included once for each number type: define NUMBER and NAMED(x) first. With complex numbers, the imaginary part of
 * rates(t, x + i e s, p + i e d) / e is the exact derivative of the rates in the direction (s, d).
 */

/* Share of full contraction. Time counts in heart periods from the chamber's onset. */
static inline NUMBER NAMED(activation)(double t, NUMBER period, NUMBER onset, NUMBER rise, NUMBER fall) {
  const double pi = 3.14159265358979323846;
  NUMBER phase = t / period - onset;
  phase -= floor(creal(phase));
  if (creal(phase) < creal(rise)) return 0.5 * (1.0 - cos(pi * (phase / rise)));
  phase -= rise;
  if (creal(phase) < creal(fall)) return 0.5 * (1.0 + cos(pi * (phase / fall)));
  return 0.0;
}

static inline NUMBER NAMED(diode)(NUMBER upstream, NUMBER downstream, const NUMBER *p) {
  NUMBER drop = upstream - downstream;
  return creal(drop) > 0.0 ? drop / p[RMIN] : drop / p[RMAX];
}

static void NAMED(rates)(double t, const NUMBER *x, const NUMBER *p, NUMBER *dx) {
  NUMBER atria = NAMED(activation)(t, p[T_HB], p[TON_A], p[TC_A], p[TR_A]);
  NUMBER ventricles = NAMED(activation)(t, p[T_HB], p[TON_V], p[TC_V], p[TR_V]);

  NUMBER p_la = (p[EA_LA] * atria + p[EB_LA]) * (x[V_LA] - p[V0_LA]);
  NUMBER p_lv = (p[EA_LV] * ventricles + p[EB_LV]) * (x[V_LV] - p[V0_LV]);
  NUMBER p_ra = (p[EA_RA] * atria + p[EB_RA]) * (x[V_RA] - p[V0_RA]);
  NUMBER p_rv = (p[EA_RV] * ventricles + p[EB_RV]) * (x[V_RV] - p[V0_RV]);

  NUMBER mitral = NAMED(diode)(p_la, p_lv, p);
  NUMBER aortic = NAMED(diode)(p_lv, x[P_AR_SYS], p);
  NUMBER tricuspid = NAMED(diode)(p_ra, p_rv, p);
  NUMBER pulmonary = NAMED(diode)(p_rv, x[P_AR_PUL], p);

  dx[V_LA] = x[Q_VEN_PUL] - mitral;
  dx[V_LV] = mitral - aortic;
  dx[V_RA] = x[Q_VEN_SYS] - tricuspid;
  dx[V_RV] = tricuspid - pulmonary;
  dx[P_AR_SYS] = (aortic - x[Q_AR_SYS]) / p[C_AR_SYS];
  dx[P_VEN_SYS] = (x[Q_AR_SYS] - x[Q_VEN_SYS]) / p[C_VEN_SYS];
  dx[P_AR_PUL] = (pulmonary - x[Q_AR_PUL]) / p[C_AR_PUL];
  dx[P_VEN_PUL] = (x[Q_AR_PUL] - x[Q_VEN_PUL]) / p[C_VEN_PUL];
  dx[Q_AR_SYS] = -(p[R_AR_SYS] * x[Q_AR_SYS] + x[P_VEN_SYS] - x[P_AR_SYS]) / p[L_AR_SYS];
  dx[Q_VEN_SYS] = -(p[R_VEN_SYS] * x[Q_VEN_SYS] + p_ra - x[P_VEN_SYS]) / p[L_VEN_SYS];
  dx[Q_AR_PUL] = -(p[R_AR_PUL] * x[Q_AR_PUL] + x[P_VEN_PUL] - x[P_AR_PUL]) / p[L_AR_PUL];
  dx[Q_VEN_PUL] = -(p[R_VEN_PUL] * x[Q_VEN_PUL] + p_la - x[P_VEN_PUL]) / p[L_VEN_PUL];
}
