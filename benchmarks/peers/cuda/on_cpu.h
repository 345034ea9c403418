/* The part of CUDA that these programs use, for g++: threads one after another, memory of the device that of the host. */
#pragma once
#include <chrono>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define __global__
#define __device__
#define __host__
#define __constant__
#define __restrict__ __restrict
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)

struct Index3 { unsigned x; };
inline Index3 blockIdx, blockDim, threadIdx;

#define LAUNCH(kernel, blocks, block, ...)                                                     \
  for (blockDim.x = (block), blockIdx.x = 0; blockIdx.x < unsigned(blocks); blockIdx.x++)      \
    for (threadIdx.x = 0; threadIdx.x < unsigned(block); threadIdx.x++) kernel(__VA_ARGS__)

inline double cospi(double x) { return cos(3.14159265358979323846 * x); }
inline float cospi(float x) { return cosf(3.14159265358979323846f * x); }

typedef int cudaError_t;
enum { cudaSuccess, cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost };
typedef std::chrono::steady_clock::time_point *cudaEvent_t;
struct cudaFuncAttributes { int numRegs, maxThreadsPerBlock; size_t localSizeBytes; };
struct cudaDeviceProp { char name[8]; int maxThreadsPerMultiProcessor; };

inline const char *cudaGetErrorString(cudaError_t) { return "no memory"; }
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
template <class T> cudaError_t cudaMalloc(T **p, size_t size) { return (*p = static_cast<T *>(malloc(size))) == nullptr; }
template <class T> cudaError_t cudaMallocHost(T **p, size_t size) { return cudaMalloc(p, size); }
inline cudaError_t cudaFree(void *p) { return free(p), cudaSuccess; }
inline cudaError_t cudaFreeHost(void *p) { return free(p), cudaSuccess; }
inline cudaError_t cudaMemcpy(void *to, const void *from, size_t size, int) { return memcpy(to, from, size), cudaSuccess; }
inline cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t size, int) {
  return memcpy(to, from, size), cudaSuccess;
}
inline cudaError_t cudaEventCreate(cudaEvent_t *e) {
  return *e = new std::chrono::steady_clock::time_point, cudaSuccess;
}
inline cudaError_t cudaEventDestroy(cudaEvent_t e) { return delete e, cudaSuccess; }
inline cudaError_t cudaEventRecord(cudaEvent_t e) { return *e = std::chrono::steady_clock::now(), cudaSuccess; }
inline cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
inline cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t begin, cudaEvent_t end) {
  return *ms = std::chrono::duration<float, std::milli>(*end - *begin).count(), cudaSuccess;
}
template <class F> cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *a, F) {
  return *a = {0, 1024, 0}, cudaSuccess;
}
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int) { return *p = {"CPU", 1024}, cudaSuccess; }
template <class F> cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, F, int block, size_t) {
  return *blocks = 1024 / block, cudaSuccess;
}
