#include "lorenz.cuh"
#include "run.cuh"

int run_lorenz(const Job &job) {
  if (strcmp(job.problem, "lorenz") == 0)
    return run_if<Lorenz<double>, true, true>(job) || run_if<Lorenz<float>, true, true>(job);
  if (strcmp(job.problem, "lorenz_gradient") == 0)
    return run_if<LorenzGradient<double>, true>(job) || run_if<LorenzGradient<float>, true>(job);
  return 0;
}
