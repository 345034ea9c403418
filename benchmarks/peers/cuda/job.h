/* What the program is asked for, and how a problem's own file answers. */
#pragma once

struct Settings {
  double rtol, atol, end, first_step; /* first_step 0: estimate it */
  int steps, max_steps;               /* of fixed steps, and the budget of adaptive ones */
};

struct Job {
  const char *problem, *precision, *mode, *input, *output;
  long trajectories;
  int repeats, transfer, block;
  Settings settings;
};

/* Each runs the job if it is its own, prints its JSON and returns 1; else 0. */
int run_lorenz(const Job &);
int run_lorenz96(const Job &);
int run_circulation(const Job &);
int run_pollu(const Job &);
int run_ten_tusscher(const Job &);
