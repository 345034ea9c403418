/* The problems by number; the order is that of ../stiff_problems.py. */
#include <stddef.h>

#include "stiff_problems.h"
#include "ten_tusscher.h"

typedef struct {
  int states, parameters;
  void (*rates)(const double *x, const double *p, double u, double *dx);
  void (*jacobian)(const double *x, const double *p, double *J); /* NULL: the solver takes difference quotients */
} StiffProblem;

static const StiffProblem stiff_table[] = {
    {2, 1, vdpol_rates, vdpol_jacobian},
    {3, 3, rober_rates, rober_jacobian},
    {3, 3, orego_rates, orego_jacobian},
    {8, HIRES_PARAMETERS, hires_rates, hires_jacobian},
    {20, 25, pollu_rates, pollu_jacobian},
    {TT_STATES, TT_PARAMETERS, ten_tusscher_rates, NULL},
};

int stiff_states(int problem) { return stiff_table[problem].states; }
int stiff_parameters(int problem) { return stiff_table[problem].parameters; }

void stiff_rates(int problem, const double *x, const double *p, double u, double *dx) {
  stiff_table[problem].rates(x, p, u, dx);
}

/* Column-major; 0 where there is one. */
int stiff_jacobian(int problem, const double *x, const double *p, double *J) {
  const StiffProblem *which = &stiff_table[problem];
  if (!which->jacobian) return 1;
  for (int i = 0; i < which->states * which->states; i++) J[i] = 0.0;
  which->jacobian(x, p, J);
  return 0;
}
