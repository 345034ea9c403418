// What every kernel needs of its surroundings: CUDA's own, or a loop on the processor in its place.
#pragma once
#ifdef __CUDACC__
#include <cuda_runtime.h>
#define LAUNCH(kernel, blocks, block, ...) kernel<<<blocks, block>>>(__VA_ARGS__)
#else
#include "on_cpu.h"
#endif
#include <math.h>

template <class T> __device__ __forceinline__ T infinity() { return T(INFINITY); }
template <class T> struct Epsilon;
template <> struct Epsilon<double> { static constexpr double value = 2.220446049250313e-16; };
template <> struct Epsilon<float> { static constexpr float value = 1.1920929e-7f; };

template <class T> __device__ __forceinline__ T larger(T a, T b) { return a > b ? a : b; }
template <class T> __device__ __forceinline__ T smaller(T a, T b) { return a < b ? a : b; }

// Loops over states are written out up to this many.
template <int N> struct Unroll { static constexpr int count = N <= 20 ? N : 4; };
