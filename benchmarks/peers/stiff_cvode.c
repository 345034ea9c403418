/* SUNDIALS' CVODE (BDF, Newton, dense) on the stiff test problems, one twin after another on one core. Built by
 * stiff_cvode.py. */
#include <cvodes/cvodes.h>
#include <nvector/nvector_serial.h>
#include <string.h>
#include <sundials/sundials_version.h>
#include <sunlinsol/sunlinsol_dense.h>
#include <sunmatrix/sunmatrix_dense.h>

#include "stiff_table.h"

/* Failures are told by codes, not on the screen. */
#if SUNDIALS_VERSION_MAJOR >= 7
#define NO_COMMUNICATOR SUN_COMM_NULL
#define SILENCE(solver, context) SUNContext_ClearErrHandlers(context)
#else
#define NO_COMMUNICATOR NULL
#define SILENCE(solver, context) CVodeSetErrFile(solver, NULL)
#endif

typedef struct {
  const StiffProblem *problem;
  const double *p;
  double u;
} Twin;

static int rates(sunrealtype t, N_Vector x, N_Vector dx, void *data) {
  (void)t;
  const Twin *twin = data;
  twin->problem->rates(N_VGetArrayPointer(x), twin->p, twin->u, N_VGetArrayPointer(dx));
  return 0;
}

static int jacobian(sunrealtype t, N_Vector x, N_Vector fx, SUNMatrix J, void *data, N_Vector a, N_Vector b, N_Vector c) {
  (void)t, (void)fx, (void)a, (void)b, (void)c;
  const Twin *twin = data; /* SUNDIALS hands over a matrix full of zeros */
  twin->problem->jacobian(N_VGetArrayPointer(x), twin->p, SM_DATA_D(J));
  return 0;
}

const char *stiff_version(void) { return SUNDIALS_VERSION; }

/* The states of each twin at the last of `ends`, NaN where it failed. The input is inputs[i] up to ends[i]; the solver stops
 * there and starts anew. codes [twins] are 0 where all went well; steps [twins] are accepted ones. */
int stiff_solve(int number, int twins, const double *parameters, const double *initial, int segments, const double *ends,
                const double *inputs, double rtol, double atol, long max_steps, double *values, long *steps, int *codes) {
  const StiffProblem *problem = &stiff_table[number];
  const int n = problem->states;
  Twin twin = {problem, parameters, 0.0};
  SUNContext context;
  if (SUNContext_Create(NO_COMMUNICATOR, &context)) return -1;
  /* one solver for all twins: what it allocates is not part of a twin's time */
  N_Vector x = N_VNew_Serial(n, context);
  SUNMatrix J = SUNDenseMatrix(n, n, context);
  SUNLinearSolver linear = SUNLinSol_Dense(x, J, context);
  void *solver = CVodeCreate(CV_BDF, context);
  SILENCE(solver, context);
  memcpy(N_VGetArrayPointer(x), initial, n * sizeof(double));
  int code = CVodeInit(solver, rates, 0.0, x);
  code = code ? code : CVodeSStolerances(solver, rtol, atol);
  code = code ? code : CVodeSetUserData(solver, &twin);
  code = code ? code : CVodeSetLinearSolver(solver, linear, J);
  if (problem->jacobian) code = code ? code : CVodeSetJacFn(solver, jacobian);
  code = code ? code : CVodeSetMaxNumSteps(solver, max_steps);
  code = code ? code : CVodeSetMaxHnilWarns(solver, -1);
  for (int i = 0; i < twins && !code; i++) {
    double *state = N_VGetArrayPointer(x), *to = values + (size_t)i * n;
    memcpy(state, initial + (size_t)i * n, n * sizeof(double));
    twin.p = parameters + (size_t)i * problem->parameters;
    sunrealtype t = 0.0;
    codes[i] = 0, steps[i] = 0;
    for (int k = 0; k < segments && codes[i] >= 0; k++) {
      twin.u = inputs[k];
      CVodeReInit(solver, t, x);
      CVodeSetStopTime(solver, ends[k]);
      codes[i] = CVode(solver, ends[k], x, &t, CV_NORMAL);
      long taken = 0;
      CVodeGetNumSteps(solver, &taken);
      steps[i] += taken;
    }
    for (int j = 0; j < n; j++) to[j] = codes[i] < 0 ? NAN : state[j];
  }
  CVodeFree(&solver);
  SUNLinSolFree(linear);
  SUNMatDestroy(J);
  N_VDestroy(x);
  SUNContext_Free(&context);
  return code;
}
