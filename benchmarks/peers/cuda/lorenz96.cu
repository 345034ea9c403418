#include "lorenz96.cuh"
#include "run.cuh"

template <int N> static int run_size(const Job &job, int size) {
  return size == N && (run_if<Lorenz96<double, N>, true>(job) || run_if<Lorenz96<float, N>, true>(job));
}

int run_lorenz96(const Job &job) {
  if (strncmp(job.problem, "lorenz96_", 9) != 0) return 0;
  int size = atoi(job.problem + 9);
  return run_size<4>(job, size) || run_size<8>(job, size) || run_size<16>(job, size) || run_size<32>(job, size) ||
         run_size<64>(job, size) || run_size<128>(job, size);
}
