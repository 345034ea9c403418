/* SUNDIALS' CVODES on the circulation, one twin after another on each core. Built by cvode.py. */
#include <complex.h>
#include <cvodes/cvodes.h>
#include <math.h>
#include <nvector/nvector_serial.h>
#include <stdlib.h>
#include <string.h>
#include <sunlinsol/sunlinsol_dense.h>
#include <sunmatrix/sunmatrix_dense.h>
#include <sunnonlinsol/sunnonlinsol_fixedpoint.h>
#include <sundials/sundials_version.h>
#include <tgmath.h>

#include "names.h"

#define NUMBER double
#define NAMED(x) real_##x
#include "circulation.h"
#undef NUMBER
#undef NAMED
#define NUMBER double complex
#define NAMED(x) complex_##x
#include "circulation.h"

/* Failures are told by codes, not on the screen. */
#if SUNDIALS_VERSION_MAJOR >= 7
#define NO_COMMUNICATOR SUN_COMM_NULL
#define SILENCE(solver, context) SUNContext_ClearErrHandlers(context)
#else
#define NO_COMMUNICATOR NULL
#define SILENCE(solver, context) CVodeSetErrFile(solver, NULL)
#endif

enum Method { ADAMS, BDF };

typedef struct {
  const double *p;
  int nfree;
  const int *free;
} Twin;

static int rates(sunrealtype t, N_Vector x, N_Vector dx, void *data) {
  real_rates(t, N_VGetArrayPointer(x), ((Twin *)data)->p, N_VGetArrayPointer(dx));
  return 0;
}

/* d(rates)/d(states): constant between valve events but for the two elastances. */
static int jacobian(sunrealtype t, N_Vector state, N_Vector fx, SUNMatrix J, void *data, N_Vector a, N_Vector b,
                    N_Vector c) {
  (void)fx, (void)a, (void)b, (void)c;
  const double *p = ((Twin *)data)->p, *x = N_VGetArrayPointer(state);
  double atria = real_activation(t, p[T_HB], p[TON_A], p[TC_A], p[TR_A]);
  double ventricles = real_activation(t, p[T_HB], p[TON_V], p[TC_V], p[TR_V]);
  double la = p[EA_LA] * atria + p[EB_LA], lv = p[EA_LV] * ventricles + p[EB_LV];
  double ra = p[EA_RA] * atria + p[EB_RA], rv = p[EA_RV] * ventricles + p[EB_RV];
  double p_la = la * (x[V_LA] - p[V0_LA]), p_lv = lv * (x[V_LV] - p[V0_LV]);
  double p_ra = ra * (x[V_RA] - p[V0_RA]), p_rv = rv * (x[V_RV] - p[V0_RV]);
  double mitral = 1.0 / (p_la > p_lv ? p[RMIN] : p[RMAX]), aortic = 1.0 / (p_lv > x[P_AR_SYS] ? p[RMIN] : p[RMAX]);
  double tricuspid = 1.0 / (p_ra > p_rv ? p[RMIN] : p[RMAX]);
  double pulmonary = 1.0 / (p_rv > x[P_AR_PUL] ? p[RMIN] : p[RMAX]);
#define AT(row, column) SM_ELEMENT_D(J, row, column)
  AT(V_LA, V_LA) = -la * mitral, AT(V_LA, V_LV) = lv * mitral, AT(V_LA, Q_VEN_PUL) = 1.0;
  AT(V_LV, V_LA) = la * mitral, AT(V_LV, V_LV) = -lv * (mitral + aortic), AT(V_LV, P_AR_SYS) = aortic;
  AT(V_RA, V_RA) = -ra * tricuspid, AT(V_RA, V_RV) = rv * tricuspid, AT(V_RA, Q_VEN_SYS) = 1.0;
  AT(V_RV, V_RA) = ra * tricuspid, AT(V_RV, V_RV) = -rv * (tricuspid + pulmonary), AT(V_RV, P_AR_PUL) = pulmonary;
  AT(P_AR_SYS, V_LV) = lv * aortic / p[C_AR_SYS], AT(P_AR_SYS, P_AR_SYS) = -aortic / p[C_AR_SYS];
  AT(P_AR_SYS, Q_AR_SYS) = -1.0 / p[C_AR_SYS];
  AT(P_VEN_SYS, Q_AR_SYS) = 1.0 / p[C_VEN_SYS], AT(P_VEN_SYS, Q_VEN_SYS) = -1.0 / p[C_VEN_SYS];
  AT(P_AR_PUL, V_RV) = rv * pulmonary / p[C_AR_PUL], AT(P_AR_PUL, P_AR_PUL) = -pulmonary / p[C_AR_PUL];
  AT(P_AR_PUL, Q_AR_PUL) = -1.0 / p[C_AR_PUL];
  AT(P_VEN_PUL, Q_AR_PUL) = 1.0 / p[C_VEN_PUL], AT(P_VEN_PUL, Q_VEN_PUL) = -1.0 / p[C_VEN_PUL];
  AT(Q_AR_SYS, P_AR_SYS) = 1.0 / p[L_AR_SYS], AT(Q_AR_SYS, P_VEN_SYS) = -1.0 / p[L_AR_SYS];
  AT(Q_AR_SYS, Q_AR_SYS) = -p[R_AR_SYS] / p[L_AR_SYS];
  AT(Q_VEN_SYS, P_VEN_SYS) = 1.0 / p[L_VEN_SYS], AT(Q_VEN_SYS, V_RA) = -ra / p[L_VEN_SYS];
  AT(Q_VEN_SYS, Q_VEN_SYS) = -p[R_VEN_SYS] / p[L_VEN_SYS];
  AT(Q_AR_PUL, P_AR_PUL) = 1.0 / p[L_AR_PUL], AT(Q_AR_PUL, P_VEN_PUL) = -1.0 / p[L_AR_PUL];
  AT(Q_AR_PUL, Q_AR_PUL) = -p[R_AR_PUL] / p[L_AR_PUL];
  AT(Q_VEN_PUL, P_VEN_PUL) = 1.0 / p[L_VEN_PUL], AT(Q_VEN_PUL, V_LA) = -la / p[L_VEN_PUL];
  AT(Q_VEN_PUL, Q_VEN_PUL) = -p[R_VEN_PUL] / p[L_VEN_PUL];
#undef AT
  return 0;
}

/* Rates of the sensitivities, exact by the complex step. */
static int sensitivity_rates(int n, sunrealtype t, N_Vector x, N_Vector dx, N_Vector *s, N_Vector *ds, void *data,
                             N_Vector a, N_Vector b) {
  (void)dx, (void)a, (void)b;
  const double tiny = 1e-40;
  const Twin *twin = data;
  const double *at = N_VGetArrayPointer(x);
  double complex y[STATES], dy[STATES], p[PARAMETERS];
  for (int i = 0; i < PARAMETERS; i++) p[i] = twin->p[i];
  for (int k = 0; k < n; k++) {
    const double *from = N_VGetArrayPointer(s[k]);
    double *to = N_VGetArrayPointer(ds[k]);
    for (int i = 0; i < STATES; i++) y[i] = at[i] + I * (tiny * from[i]);
    p[twin->free[k]] = twin->p[twin->free[k]] + I * tiny;
    complex_rates(t, y, p, dy);
    p[twin->free[k]] = twin->p[twin->free[k]];
    for (int i = 0; i < STATES; i++) to[i] = cimag(dy[i]) / tiny;
  }
  return 0;
}

/* One twin; values [saves][STATES], sensitivities [saves][STATES][nfree]. Returns 0, or CVODES' code of the failure. */
static int solve_twin(Twin *twin, const double *initial, int saves, const double *times, double rtol, double atol,
                      int method, long max_steps, double *values, double *sensitivities) {
  SUNContext context;
  if (SUNContext_Create(NO_COMMUNICATOR, &context)) return -1000;
  int n = twin->nfree, code = 0;
  N_Vector x = N_VNew_Serial(STATES, context);
  memcpy(N_VGetArrayPointer(x), initial, STATES * sizeof(double));
  void *solver = CVodeCreate(method == BDF ? CV_BDF : CV_ADAMS, context);
  SILENCE(solver, context);
  SUNMatrix J = NULL;
  SUNLinearSolver linear = NULL;
  SUNNonlinearSolver nonlinear = NULL, nonlinear_sensitivities = NULL;
  N_Vector *s = NULL;
  double size[PARAMETERS];
  code = code ? code : CVodeInit(solver, rates, times[0], x);
  code = code ? code : CVodeSStolerances(solver, rtol, atol);
  CVodeSetUserData(solver, twin);
  CVodeSetMaxNumSteps(solver, max_steps);
  CVodeSetMaxHnilWarns(solver, -1);
  if (method == BDF) {
    J = SUNDenseMatrix(STATES, STATES, context);
    linear = SUNLinSol_Dense(x, J, context);
    code = code ? code : CVodeSetLinearSolver(solver, linear, J);
    CVodeSetJacFn(solver, jacobian);
  } else {
    nonlinear = SUNNonlinSol_FixedPoint(x, 0, context);
    code = code ? code : CVodeSetNonlinearSolver(solver, nonlinear);
  }
  if (n && !code) {
    s = N_VCloneVectorArray(n, x);
    for (int k = 0; k < n; k++) N_VConst(0.0, s[k]), size[k] = twin->p[twin->free[k]] ? fabs(twin->p[twin->free[k]]) : 1.0;
    code = CVodeSensInit(solver, n, CV_STAGGERED, sensitivity_rates, s);
    code = code ? code : CVodeSetSensParams(solver, NULL, size, NULL);
    code = code ? code : CVodeSensEEtolerances(solver);
    code = code ? code : CVodeSetSensErrCon(solver, SUNTRUE);
    if (method == ADAMS) {
      nonlinear_sensitivities = SUNNonlinSol_FixedPointSens(n, x, 0, context);
      code = code ? code : CVodeSetNonlinearSolverSensStg(solver, nonlinear_sensitivities);
    }
  }
  for (int i = 0; i < saves && !code; i++) {
    sunrealtype t = times[i];
    if (i > 0) {
      int end = CVode(solver, times[i], x, &t, CV_NORMAL);
      code = end < 0 ? end : 0;
    }
    if (code) break;
    memcpy(values + (size_t)i * STATES, N_VGetArrayPointer(x), STATES * sizeof(double));
    if (n) {
      if (i > 0) CVodeGetSens(solver, &t, s);
      for (int k = 0; k < n; k++)
        for (int j = 0; j < STATES; j++)
          sensitivities[((size_t)i * STATES + j) * n + k] = N_VGetArrayPointer(s[k])[j];
    }
  }
  CVodeFree(&solver);
  if (s) N_VDestroyVectorArray(s, n);
  if (nonlinear) SUNNonlinSolFree(nonlinear);
  if (nonlinear_sensitivities) SUNNonlinSolFree(nonlinear_sensitivities);
  if (linear) SUNLinSolFree(linear);
  if (J) SUNMatDestroy(J);
  N_VDestroy(x);
  SUNContext_Free(&context);
  return code;
}

void cvode_rates(double t, const double *x, const double *p, double *dx) { real_rates(t, x, p, dx); }

const char *cvode_version(void) { return SUNDIALS_VERSION; }

/* A cohort on all cores: values [twins][saves][STATES], sensitivities [twins][saves][STATES][nfree], NaN from a failure
 * on; codes [twins] are 0 where all went well. The first of `times` is that of the initial state. */
void cvode_solve(int twins, const double *parameters, const double *initial, int saves, const double *times, double rtol,
                 double atol, int method, long max_steps, int nfree, const int *free_indices, double *values,
                 double *sensitivities, int *codes) {
#pragma omp parallel for schedule(dynamic) if (twins > 1)
  for (int i = 0; i < twins; i++) {
    double *to = values + (size_t)i * saves * STATES;
    double *slopes = nfree ? sensitivities + (size_t)i * saves * STATES * nfree : NULL;
    Twin twin = {parameters + (size_t)i * PARAMETERS, nfree, free_indices};
    for (size_t j = 0; j < (size_t)saves * STATES; j++) to[j] = NAN;
    for (size_t j = 0; j < (size_t)saves * STATES * nfree; j++) slopes[j] = NAN;
    codes[i] = solve_twin(&twin, initial + (size_t)i * STATES, saves, times, rtol, atol, method, max_steps, to, slopes);
  }
}
