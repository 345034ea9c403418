// A value with its derivative in one direction.
#pragma once
#include "device.cuh"

template <class T> struct Dual {
  T v, d;
  __device__ __forceinline__ Dual(T v) : v(v), d(0) {}
  __device__ __forceinline__ Dual(T v, T d) : v(v), d(d) {}
  friend __device__ __forceinline__ Dual operator-(Dual a) { return {-a.v, -a.d}; }
  friend __device__ __forceinline__ Dual operator+(Dual a, Dual b) { return {a.v + b.v, a.d + b.d}; }
  friend __device__ __forceinline__ Dual operator+(Dual a, T b) { return {a.v + b, a.d}; }
  friend __device__ __forceinline__ Dual operator+(T a, Dual b) { return {a + b.v, b.d}; }
  friend __device__ __forceinline__ Dual operator-(Dual a, Dual b) { return {a.v - b.v, a.d - b.d}; }
  friend __device__ __forceinline__ Dual operator-(Dual a, T b) { return {a.v - b, a.d}; }
  friend __device__ __forceinline__ Dual operator-(T a, Dual b) { return {a - b.v, -b.d}; }
  friend __device__ __forceinline__ Dual operator*(Dual a, Dual b) { return {a.v * b.v, a.d * b.v + a.v * b.d}; }
  friend __device__ __forceinline__ Dual operator*(Dual a, T b) { return {a.v * b, a.d * b}; }
  friend __device__ __forceinline__ Dual operator*(T a, Dual b) { return {a * b.v, a * b.d}; }
  friend __device__ __forceinline__ Dual operator/(Dual a, Dual b) {
    T inverse = T(1) / b.v, q = a.v * inverse;
    return {q, (a.d - q * b.d) * inverse};
  }
  friend __device__ __forceinline__ Dual operator/(T a, Dual b) {
    T inverse = T(1) / b.v, q = a * inverse;
    return {q, -q * b.d * inverse};
  }
  friend __device__ __forceinline__ Dual exp(Dual a) {
    T e = ::exp(a.v);
    return {e, a.d * e};
  }
  friend __device__ __forceinline__ Dual sqrt(Dual a) {
    T root = ::sqrt(a.v);
    return {root, T(0.5) * a.d / root};
  }
};

template <class T> __device__ __forceinline__ T value_of(T x) { return x; }
template <class T> __device__ __forceinline__ T value_of(Dual<T> x) { return x.v; }

// 1 / (1 + exp(-z))
template <class T> __device__ __forceinline__ T logistic(T z) { return T(1) / (T(1) + exp(-z)); }
template <class T> __device__ __forceinline__ Dual<T> logistic(Dual<T> z) {
  T s = logistic(z.v);
  return {s, s * (T(1) - s) * z.d};
}

// z / (exp(z) - 1)
template <class T> __device__ __forceinline__ T bernoulli(T z) {
  T square = z * z;
  if (fabs(z) < T(0.1))
    return T(1) - T(0.5) * z +
           square * (T(1.0 / 12.0) -
                     square * (T(1.0 / 720.0) - square * (T(1.0 / 30240.0) - square * T(1.0 / 1209600.0))));
  return z / expm1(z);
}
template <class T> __device__ __forceinline__ Dual<T> bernoulli(Dual<T> z) {
  T square = z.v * z.v;
  if (fabs(z.v) < T(0.1)) {
    T slope = T(-0.5) + z.v * (T(1.0 / 6.0) - square * (T(1.0 / 180.0) - square * (T(1.0 / 5040.0) - square * T(1.0 / 151200.0))));
    return {bernoulli(z.v), slope * z.d};
  }
  // (1 - b exp(z)) / (exp(z) - 1) = b (1 - b) / z - b
  T b = z.v / expm1(z.v);
  return {b, (b * (T(1) - b) / z.v - b) * z.d};
}
