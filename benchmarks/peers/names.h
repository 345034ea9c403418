/* The order in which parameters and states are handed over; the same as in benchmarks/cohort.py. */
enum Parameter {
  T_HB, TON_A, TC_A, TR_A, TON_V, TC_V, TR_V,
  EA_LA, EB_LA, V0_LA, EA_LV, EB_LV, V0_LV, EA_RA, EB_RA, V0_RA, EA_RV, EB_RV, V0_RV,
  RMIN, RMAX,
  R_AR_SYS, C_AR_SYS, L_AR_SYS, R_VEN_SYS, C_VEN_SYS, L_VEN_SYS,
  R_AR_PUL, C_AR_PUL, L_AR_PUL, R_VEN_PUL, C_VEN_PUL, L_VEN_PUL,
  PARAMETERS
};

enum State {
  V_LA, V_LV, V_RA, V_RV,
  P_AR_SYS, P_VEN_SYS, P_AR_PUL, P_VEN_PUL,
  Q_AR_SYS, Q_VEN_SYS, Q_AR_PUL, Q_VEN_PUL,
  STATES
};
