#include "pollu.cuh"
#include "run.cuh"

int run_pollu(const Job &job) {
  return strcmp(job.problem, "pollu") == 0 && (run_if<Pollu<double>, false>(job) || run_if<Pollu<float>, false>(job));
}
