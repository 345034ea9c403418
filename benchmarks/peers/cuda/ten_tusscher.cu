#include "ten_tusscher.cuh"
#include "run.cuh"

int run_ten_tusscher(const Job &job) {
  return strcmp(job.problem, "ten_tusscher") == 0 && (run_if<TenTusscher<double>, false>(job) || run_if<TenTusscher<float>, false>(job));
}
