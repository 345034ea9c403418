// The rough functions of vht/solve/rough.py, which decide about the size of steps.
#pragma once
#include <string.h>

#include "device.cuh"

template <class To, class From> __device__ __forceinline__ To bits_as(From value) {
  To found;
  memcpy(&found, &value, sizeof found);
  return found;
}

namespace rough {
constexpr int mantissa_bits = 23, one = 0x3F800000;
constexpr float to_whole = 12582912.0f;

__device__ __forceinline__ float log2(float x) {
  int bits = bits_as<int>(x), exponent = (bits - one) >> mantissa_bits;
  float f = bits_as<float>(bits - (exponent << mantissa_bits)) - 1.0f;
  return float(exponent) + f * (1.3466f - 0.3466f * f);
}

__device__ __forceinline__ float exp2(float x) {
  int shifted = bits_as<int>(x + to_whole), whole = shifted - bits_as<int>(to_whole);
  float f = x - float(whole), power = 1.0f + f * (0.703f + 0.24f * f);
  return bits_as<float>(bits_as<int>(power) + int(unsigned(whole) << mantissa_bits));
}

__device__ __forceinline__ float reciprocal(float x) {
  float guess = bits_as<float>(0x7EF311C0 - bits_as<int>(x));
  return guess * (2.0f - x * guess);
}

__device__ __forceinline__ double reciprocal(double x) {
  double guess = bits_as<double>(0x7FDE623800000000LL - bits_as<long long>(x));
  return guess * (2.0 - x * guess);
}
}  // namespace rough
