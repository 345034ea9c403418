/* SUNDIALS' CVODES on models with doses, with forward sensitivities to their times, and with thresholds. Built by
 * gradients_cvodes.py.
 *
 * A solve is a row of stretches, each with a length, a constant input, and a jump of the states before it. On every stretch
 * time is counted in its length, so that lengths are ordinary parameters of the rates: a sensitivity to the time of a dose
 * needs no formula for what happens to sensitivities at a jump. */
#include <complex.h>
#include <cvodes/cvodes.h>
#include <math.h>
#include <nvector/nvector_serial.h>
#include <string.h>
#include <sundials/sundials_version.h>
#include <sunlinsol/sunlinsol_dense.h>
#include <sunmatrix/sunmatrix_dense.h>
#include <sunnonlinsol/sunnonlinsol_fixedpoint.h>
#include <tgmath.h>

#include "names.h"

#define NUMBER double
#define NAMED(x) real_##x
#include "circulation.h"
#include "gradients_models.h"
#undef NUMBER
#undef NAMED
#define NUMBER double complex
#define NAMED(x) complex_##x
#include "circulation.h"
#include "gradients_models.h"

/* Failures are told by codes, not on the screen. */
#if SUNDIALS_VERSION_MAJOR >= 7
#define NO_COMMUNICATOR SUN_COMM_NULL
#define SILENCE(solver, context) SUNContext_ClearErrHandlers(context)
#else
#define NO_COMMUNICATOR NULL
#define SILENCE(solver, context) CVodeSetErrFile(solver, NULL)
#endif

enum { MOST_STATES = 16, MOST_PARAMETERS = 64, STORM = -2000 };
static const double tiny = 1e-40;

/* The pump goes on where glucose rises above `high`, and off where it falls below `low`. */
static int pump_thresholds(sunrealtype t, N_Vector x, sunrealtype *g, void *data);

typedef struct {
  int states, parameters, stiff, roots;
  void (*rates)(double t, const double *x, const double *p, double u, double *dx);
  void (*complex_rates)(double t, const double complex *x, const double complex *p, double complex u, double complex *dx);
} Problem;

static const Problem problems[] = {
    {2, 4, 0, 0, real_oral, complex_oral},
    {5, 9, 0, 0, real_meal, complex_meal},
    {6, 11, 0, 2, real_pump, complex_pump},
    {8, 10, 1, 0, real_hires, complex_hires},
    {STATES, PARAMETERS, 0, 0, real_circulation, complex_circulation},
};

typedef struct {
  const Problem *problem;
  const double *p;
  double u, length;
  /* by direction: how it moves parameters, and this stretch's input and length */
  int count, stretches, stretch;
  const double *dp, *du, *dlength;
} Twin;

static int rates(sunrealtype t, N_Vector x, N_Vector dx, void *data) {
  const Twin *twin = data;
  twin->problem->rates(t, N_VGetArrayPointer(x), twin->p, twin->u, N_VGetArrayPointer(dx));
  return 0;
}

static int pump_thresholds(sunrealtype t, N_Vector x, sunrealtype *g, void *data) {
  (void)t;
  const Twin *twin = data;
  g[0] = N_VGetArrayPointer(x)[2] - twin->p[9];
  g[1] = N_VGetArrayPointer(x)[2] - twin->p[10];
  return 0;
}

static int jacobian(sunrealtype t, N_Vector x, N_Vector fx, SUNMatrix J, void *data, N_Vector a, N_Vector b, N_Vector c) {
  (void)fx, (void)a, (void)b, (void)c;
  const Twin *twin = data;
  const int n = twin->problem->states;
  double complex y[MOST_STATES], dy[MOST_STATES], p[MOST_PARAMETERS];
  for (int i = 0; i < n; i++) y[i] = N_VGetArrayPointer(x)[i];
  for (int i = 0; i < twin->problem->parameters; i++) p[i] = twin->p[i];
  for (int j = 0; j < n; j++) {
    y[j] += I * tiny;
    twin->problem->complex_rates(t, y, p, twin->u, dy);
    y[j] = creal(y[j]);
    for (int i = 0; i < n; i++) SM_ELEMENT_D(J, i, j) = cimag(dy[i]) / tiny;
  }
  return 0;
}

/* Rates of the sensitivities, exact by the complex step. */
static int sensitivity_rates(int count, sunrealtype t, N_Vector x, N_Vector dx, N_Vector *s, N_Vector *ds, void *data,
                             N_Vector a, N_Vector b) {
  (void)dx, (void)a, (void)b;
  const Twin *twin = data;
  const int n = twin->problem->states, m = twin->problem->parameters;
  double complex y[MOST_STATES], dy[MOST_STATES], p[MOST_PARAMETERS];
  for (int k = 0; k < count; k++) {
    const size_t here = (size_t)k * twin->stretches + twin->stretch;
    for (int i = 0; i < n; i++) y[i] = N_VGetArrayPointer(x)[i] + I * (tiny * N_VGetArrayPointer(s[k])[i]);
    for (int i = 0; i < m; i++) p[i] = twin->p[i] + I * (tiny * twin->dp[(size_t)k * m + i]);
    twin->problem->complex_rates(t, y, p, twin->u + I * (tiny * twin->du[here]), dy);
    const double stretched = twin->dlength[here] / twin->length;
    for (int i = 0; i < n; i++) N_VGetArrayPointer(ds[k])[i] = cimag(dy[i]) / tiny + stretched * creal(dy[i]);
  }
  return 0;
}

/* One twin; see gradients_solve. Returns 0, or CVODES' code of the failure. */
static int solve_twin(Twin *twin, const double *initial, const double *lengths, const double *inputs, const double *jumps,
                      const double *dinitial, const double *djumps, const double *sizes, double rtol, double atol,
                      long max_steps, int most, double *values, double *slopes, double *times, int *events) {
  SUNContext context;
  if (SUNContext_Create(NO_COMMUNICATOR, &context)) return -1000;
  const Problem *problem = twin->problem;
  const int n = problem->states, count = twin->count;
  N_Vector x = N_VNew_Serial(n, context);
  double *state = N_VGetArrayPointer(x);
  memcpy(state, initial, n * sizeof(double));
  void *solver = CVodeCreate(problem->stiff ? CV_BDF : CV_ADAMS, context);
  SILENCE(solver, context);
  SUNMatrix J = NULL;
  SUNLinearSolver linear = NULL;
  SUNNonlinearSolver nonlinear = NULL, nonlinear_sensitivities = NULL;
  N_Vector *s = NULL;
  int code = CVodeInit(solver, rates, 0.0, x);
  code = code ? code : CVodeSStolerances(solver, rtol, atol);
  CVodeSetUserData(solver, twin);
  CVodeSetMaxNumSteps(solver, max_steps);
  CVodeSetMaxHnilWarns(solver, -1);
  if (problem->stiff) {
    J = SUNDenseMatrix(n, n, context);
    linear = SUNLinSol_Dense(x, J, context);
    code = code ? code : CVodeSetLinearSolver(solver, linear, J);
    CVodeSetJacFn(solver, jacobian);
  } else {
    nonlinear = SUNNonlinSol_FixedPoint(x, 0, context);
    code = code ? code : CVodeSetNonlinearSolver(solver, nonlinear);
  }
  if (problem->roots) {
    int ways[] = {1, -1};
    code = code ? code : CVodeRootInit(solver, problem->roots, pump_thresholds);
    code = code ? code : CVodeSetRootDirection(solver, ways);
  }
  if (count) {
    s = N_VCloneVectorArray(count, x);
    for (int k = 0; k < count; k++) memcpy(N_VGetArrayPointer(s[k]), dinitial + (size_t)k * n, n * sizeof(double));
    code = code ? code : CVodeSensInit(solver, count, CV_STAGGERED, sensitivity_rates, s);
    code = code ? code : CVodeSetSensParams(solver, NULL, (double *)sizes, NULL);
    code = code ? code : CVodeSensEEtolerances(solver);
    code = code ? code : CVodeSetSensErrCon(solver, SUNTRUE);
    if (!problem->stiff) {
      nonlinear_sensitivities = SUNNonlinSol_FixedPointSens(count, x, 0, context);
      code = code ? code : CVodeSetNonlinearSolverSensStg(solver, nonlinear_sensitivities);
    }
  }
  sunrealtype t = 0.0;
  for (int j = 0; j < twin->stretches && !code; j++) {
    twin->u = inputs[j], twin->length = lengths[j], twin->stretch = j;
    for (int i = 0; i < n; i++) state[i] += jumps[(size_t)j * n + i];
    for (int k = 0; k < count; k++)
      for (int i = 0; i < n; i++)
        N_VGetArrayPointer(s[k])[i] += djumps[((size_t)k * twin->stretches + j) * n + i];
    const double end = t + lengths[j];
    code = CVodeReInit(solver, t, x);
    if (count) code = code ? code : CVodeSensReInit(solver, CV_STAGGERED, s);
    while (!code && t < end) {
      CVodeSetStopTime(solver, end);
      int told = CVode(solver, end, x, &t, CV_NORMAL);
      code = told < 0 ? told : 0;
      if (told != CV_ROOT_RETURN) continue;
      int which[2];
      CVodeGetRootInfo(solver, which);
      if (*events < most) times[*events] = t;
      code = ++*events > most ? STORM : code;
      state[5] = which[0] ? 1.0 : 0.0;
      code = code ? code : CVodeReInit(solver, t, x);
    }
    if (code) break;
    t = end;
    memcpy(values + (size_t)j * n, state, n * sizeof(double));
    sunrealtype at;
    if (count) CVodeGetSens(solver, &at, s);
    for (int k = 0; k < count; k++)
      for (int i = 0; i < n; i++) slopes[((size_t)j * n + i) * count + k] = N_VGetArrayPointer(s[k])[i];
  }
  CVodeFree(&solver);
  if (s) N_VDestroyVectorArray(s, count);
  if (nonlinear) SUNNonlinSolFree(nonlinear);
  if (nonlinear_sensitivities) SUNNonlinSolFree(nonlinear_sensitivities);
  if (linear) SUNLinSolFree(linear);
  if (J) SUNMatDestroy(J);
  N_VDestroy(x);
  SUNContext_Free(&context);
  return code;
}

const char *gradients_version(void) { return SUNDIALS_VERSION; }

int gradients_states(int problem) { return problems[problem].states; }
int gradients_parameters(int problem) { return problems[problem].parameters; }

/* A cohort on all cores. By twin: parameters, initial, lengths [stretches], inputs [stretches], jumps [stretches][states];
 * by twin and direction, their derivatives of the same shapes, and the directions' sizes. Values [twins][stretches][states]
 * and slopes [twins][stretches][states][count] at the end of each stretch, NaN from a failure on; times [twins][most] and
 * numbers of the events; codes [twins] are 0 where all went well. Rates that depend on time must not have lengths that move. */
void gradients_solve(int problem, int twins, int stretches, int count, const double *parameters, const double *initial,
                     const double *lengths, const double *inputs, const double *jumps, const double *dparameters,
                     const double *dinitial, const double *dlengths, const double *dinputs, const double *djumps,
                     const double *sizes, double rtol, double atol, long max_steps, int most, double *values,
                     double *slopes, double *times, int *events, int *codes) {
  const Problem *which = &problems[problem];
  const size_t n = which->states, m = which->parameters, l = stretches, c = count;
#pragma omp parallel for schedule(dynamic) if (twins > 1)
  for (int i = 0; i < twins; i++) {
    for (size_t j = 0; j < l * n; j++) values[i * l * n + j] = NAN;
    for (size_t j = 0; j < l * n * c; j++) slopes[i * l * n * c + j] = NAN;
    for (int j = 0; j < most; j++) times[(size_t)i * most + j] = NAN;
    events[i] = 0;
    Twin twin = {.problem = which, .p = parameters + i * m, .count = count, .stretches = stretches,
                 .dp = dparameters + i * c * m, .du = dinputs + i * c * l, .dlength = dlengths + i * c * l};
    codes[i] = solve_twin(&twin, initial + i * n, lengths + i * l, inputs + i * l, jumps + i * l * n, dinitial + i * c * n,
                          djumps + i * c * l * n, sizes + i * c, rtol, atol, max_steps, most, values + i * l * n,
                          slopes + i * l * n * c, times + (size_t)i * most, events + i);
  }
}
