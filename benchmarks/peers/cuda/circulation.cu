#include "circulation.cuh"
#include "run.cuh"

int run_circulation(const Job &job) {
  return strcmp(job.problem, "circulation") == 0 && (run_if<Circulation<double>, true>(job) || run_if<Circulation<float>, true>(job));
}
