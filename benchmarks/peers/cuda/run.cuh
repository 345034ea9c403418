// The host's side: numbers in, one launch to warm up, launches that are timed, numbers out, one line of JSON.
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <type_traits>
#include <vector>

#include "control.cuh"

inline void check(cudaError_t code, const char *what, int line) {
  if (code == cudaSuccess) return;
  fprintf(stderr, "%s (run.cuh:%d): %s\n", what, line, cudaGetErrorString(code));
  exit(1);
}
#define CHECK(call) check((call), #call, __LINE__)

inline void fail(const char *what, const char *which) {
  fprintf(stderr, "%s: %s\n", what, which);
  exit(1);
}

// Milliseconds of `repeats` runs of a piece of work, after one that is not timed.
template <class Work> std::vector<float> timed(int repeats, Work work) {
  cudaEvent_t begin, end;
  CHECK(cudaEventCreate(&begin));
  CHECK(cudaEventCreate(&end));
  work();
  CHECK(cudaDeviceSynchronize());
  std::vector<float> found(repeats);
  for (float &ms : found) {
    CHECK(cudaEventRecord(begin));
    work();
    CHECK(cudaEventRecord(end));
    CHECK(cudaEventSynchronize(end));
    CHECK(cudaEventElapsedTime(&ms, begin, end));
  }
  CHECK(cudaEventDestroy(begin));
  CHECK(cudaEventDestroy(end));
  return found;
}

inline void print(const char *name, const std::vector<float> &ms) {
  printf("\"%s\": [", name);
  for (size_t i = 0; i < ms.size(); i++) printf("%s%.6g", i ? ", " : "", double(ms[i]));
  printf("], ");
}

template <class Problem> void solve(const Job &job, void (*kernel)(Arguments<Problem>)) {
  using T = typename Problem::Number;
  long n = job.trajectories;
  size_t in = size_t(n) * Problem::columns, out = size_t(n) * Problem::outputs, counted = size_t(n) * 3;
  std::vector<T> given(in), values(out);
  std::vector<int> counts(counted);
  {
    std::vector<double> read(in);
    FILE *file = fopen(job.input, "rb");
    if (!file || fread(read.data(), sizeof(double), in, file) != in) fail("cannot read all columns", job.input);
    fclose(file);
    for (size_t i = 0; i < in; i++) given[i] = T(read[i]);
  }
  T *columns, *found;
  int *counters;
  CHECK(cudaMalloc(&columns, in * sizeof(T)));
  CHECK(cudaMalloc(&found, out * sizeof(T)));
  CHECK(cudaMalloc(&counters, counted * sizeof(int)));
  CHECK(cudaMemcpy(columns, given.data(), in * sizeof(T), cudaMemcpyHostToDevice));

  Arguments<Problem> arguments{job.settings, n, columns, found, counters};
  unsigned blocks = unsigned((n + job.block - 1) / job.block);
  auto launch = [&] {
    LAUNCH(kernel, blocks, job.block, arguments);
    CHECK(cudaGetLastError());
  };
  std::vector<float> alone = timed(job.repeats, launch), with_copies;
  CHECK(cudaMemcpy(values.data(), found, out * sizeof(T), cudaMemcpyDeviceToHost));
  CHECK(cudaMemcpy(counts.data(), counters, counted * sizeof(int), cudaMemcpyDeviceToHost));
  if (job.transfer) {
    T *pinned_in, *pinned_out;
    int *pinned_counts;
    size_t told = size_t(n) * 2 * sizeof(int);  // status and steps, which this package's lanes give too
    CHECK(cudaMallocHost(&pinned_in, in * sizeof(T)));
    CHECK(cudaMallocHost(&pinned_out, out * sizeof(T)));
    CHECK(cudaMallocHost(&pinned_counts, told));
    memcpy(pinned_in, given.data(), in * sizeof(T));
    with_copies = timed(job.repeats, [&] {
      CHECK(cudaMemcpyAsync(columns, pinned_in, in * sizeof(T), cudaMemcpyHostToDevice));
      launch();
      CHECK(cudaMemcpyAsync(pinned_out, found, out * sizeof(T), cudaMemcpyDeviceToHost));
      CHECK(cudaMemcpyAsync(pinned_counts, counters, told, cudaMemcpyDeviceToHost));
    });
    CHECK(cudaFreeHost(pinned_in));
    CHECK(cudaFreeHost(pinned_out));
    CHECK(cudaFreeHost(pinned_counts));
  }
  CHECK(cudaFree(columns));
  CHECK(cudaFree(found));
  CHECK(cudaFree(counters));

  FILE *file = fopen(job.output, "wb");
  if (!file || fwrite(values.data(), sizeof(T), out, file) != out ||
      fwrite(counts.data(), sizeof(int), counted, file) != counted || fclose(file) != 0)
    fail("cannot write all values", job.output);

  long long failed = 0, tried = 0, rejected = 0;
  for (long i = 0; i < n; i++) failed += counts[i] != 0, tried += counts[n + i], rejected += counts[2 * n + i];
  cudaFuncAttributes attributes;
  cudaDeviceProp device;
  int resident;
  CHECK(cudaFuncGetAttributes(&attributes, kernel));
  CHECK(cudaGetDeviceProperties(&device, 0));
  CHECK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&resident, kernel, job.block, 0));
  printf("{\"device\": \"%s\", \"registers\": %d, \"local_bytes\": %zu, \"block\": %d, \"occupancy\": %.4g, ", device.name,
         attributes.numRegs, size_t(attributes.localSizeBytes), job.block,
         double(resident) * job.block / device.maxThreadsPerMultiProcessor);
  print("kernel_ms", alone);
  print("transfer_ms", with_copies);
  printf("\"steps_tried\": %lld, \"steps_accepted\": %lld, \"failed\": %lld}\n", tried, tried - rejected, failed);
}

// `has_fixed`: whether the problem can be solved with fixed steps of its own method; `has_rk4`: of the classical one.
template <class Problem, bool has_fixed, bool has_rk4 = false> int run_if(const Job &job) {
  const char *number = std::is_same<typename Problem::Number, double>::value ? "float64" : "float32";
  if (strcmp(job.precision, number) != 0) return 0;
  if (strcmp(job.mode, "adaptive") == 0) {
    solve<Problem>(job, adaptive<Problem>);
    return 1;
  }
  if constexpr (has_fixed)
    if (strcmp(job.mode, "fixed") == 0) {
      solve<Problem>(job, fixed<Problem>);
      return 1;
    }
  if constexpr (has_rk4)
    if (strcmp(job.mode, "rk4") == 0) {
      solve<Problem>(job, rk4<Problem>);
      return 1;
    }
  return 0;
}
