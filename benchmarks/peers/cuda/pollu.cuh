// POLLU, the chemistry of polluted air (J. G. Verwer, SIAM J. Sci. Comput. 15 (1994) 1243): 25 reactions among 20 species.
// Column i holds the rate constant of reaction i + 1.
#pragma once
#include "pollu_factors.cuh"
#include "rodas5p.cuh"

template <class T> struct Pollu {
  enum States { Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y8, Y9, Y10, Y11, Y12, Y13, Y14, Y15, Y16, Y17, Y18, Y19, Y20, STATES };
  using Number = T;
  using Clock = double;
  using Method = Rodas5P<Pollu>;
  using Factors = PolluFactors<T>;
  static constexpr int states = STATES, outputs = STATES, columns = 25, groups = 1, stretches = 1;
  static constexpr bool kinks = false, written_out = sizeof(T) == 4;  // then all fits into registers
  T k[columns];

  __device__ Pollu(const T *given, long trajectories, long i) {
#pragma unroll
    for (int j = 0; j < columns; j++) k[j] = given[j * trajectories + i];
  }
  __device__ __forceinline__ void start(T *x) const {
#pragma unroll
    for (int j = 0; j < STATES; j++) x[j] = T(0);
    x[Y2] = T(0.2), x[Y4] = T(0.04), x[Y7] = T(0.1), x[Y8] = T(0.3), x[Y9] = T(0.01), x[Y17] = T(0.007);
  }
  __device__ __forceinline__ Clock enter(int, Clock end) const { return end; }
  __device__ __forceinline__ T weight(int) const { return T(1); }

  __device__ __forceinline__ unsigned rates(T, const T *x, T *dx) const {
    T r1 = k[0] * x[0], r2 = k[1] * x[1] * x[3], r3 = k[2] * x[4] * x[1], r4 = k[3] * x[6], r5 = k[4] * x[6];
    T r6 = k[5] * x[6] * x[5], r7 = k[6] * x[8], r8 = k[7] * x[8] * x[5], r9 = k[8] * x[10] * x[1];
    T r10 = k[9] * x[10] * x[0], r11 = k[10] * x[12], r12 = k[11] * x[9] * x[1], r13 = k[12] * x[13];
    T r14 = k[13] * x[0] * x[5], r15 = k[14] * x[2], r16 = k[15] * x[3], r17 = k[16] * x[3], r18 = k[17] * x[15];
    T r19 = k[18] * x[15], r20 = k[19] * x[16] * x[5], r21 = k[20] * x[18], r22 = k[21] * x[18];
    T r23 = k[22] * x[0] * x[3], r24 = k[23] * x[18] * x[0], r25 = k[24] * x[19];
    dx[0] = r2 + r3 + r9 + r11 + r12 + r22 + r25 - r1 - r10 - r14 - r23 - r24;
    dx[1] = r1 + r21 - r2 - r3 - r9 - r12;
    dx[2] = r1 + r17 + r19 + r22 - r15;
    dx[3] = r15 - r2 - r16 - r17 - r23;
    dx[4] = T(2) * r4 + r6 + r7 + r13 + r20 - r3;
    dx[5] = r3 + T(2) * r18 - r6 - r8 - r14 - r20;
    dx[6] = r13 - r4 - r5 - r6;
    dx[7] = r4 + r5 + r6 + r7;
    dx[8] = -r7 - r8;
    dx[9] = r7 + r9 - r12;
    dx[10] = r8 + r11 - r9 - r10;
    dx[11] = r9;
    dx[12] = r10 - r11;
    dx[13] = r12 - r13;
    dx[14] = r14;
    dx[15] = r16 - r18 - r19;
    dx[16] = -r20;
    dx[17] = r20;
    dx[18] = r23 + r25 - r21 - r22 - r24;
    dx[19] = r24 - r25;
    return 0;
  }

  __device__ __forceinline__ void jacobian(const T *x, Factors &m) const {
#define J(row, column) m.a[Factors::at_##row##_##column]
    /* derivative of reaction a's rate with respect to species b: r<a>_<b> */
    T r2_2 = k[1] * x[3], r2_4 = k[1] * x[1], r3_5 = k[2] * x[1], r3_2 = k[2] * x[4], r6_7 = k[5] * x[5];
    T r6_6 = k[5] * x[6], r8_9 = k[7] * x[5], r8_6 = k[7] * x[8], r9_11 = k[8] * x[1], r9_2 = k[8] * x[10];
    T r10_11 = k[9] * x[0], r10_1 = k[9] * x[10], r12_10 = k[11] * x[1], r12_2 = k[11] * x[9];
    T r14_1 = k[13] * x[5], r14_6 = k[13] * x[0], r20_17 = k[19] * x[5], r20_6 = k[19] * x[16];
    T r23_1 = k[22] * x[3], r23_4 = k[22] * x[0], r24_19 = k[23] * x[0], r24_1 = k[23] * x[18];
    J(Y1, Y1) = -k[0] - r10_1 - r14_1 - r23_1 - r24_1, J(Y1, Y2) = r2_2 + r3_2 + r9_2 + r12_2;
    J(Y1, Y4) = r2_4 - r23_4, J(Y1, Y5) = r3_5, J(Y1, Y6) = -r14_6, J(Y1, Y10) = r12_10, J(Y1, Y11) = r9_11 - r10_11;
    J(Y1, Y13) = k[10], J(Y1, Y19) = k[21] - r24_19, J(Y1, Y20) = k[24];
    J(Y2, Y1) = k[0], J(Y2, Y2) = -r2_2 - r3_2 - r9_2 - r12_2, J(Y2, Y4) = -r2_4, J(Y2, Y5) = -r3_5;
    J(Y2, Y10) = -r12_10, J(Y2, Y11) = -r9_11, J(Y2, Y19) = k[20];
    J(Y3, Y1) = k[0], J(Y3, Y3) = -k[14], J(Y3, Y4) = k[16], J(Y3, Y16) = k[18], J(Y3, Y19) = k[21];
    J(Y4, Y1) = -r23_1, J(Y4, Y2) = -r2_2, J(Y4, Y3) = k[14], J(Y4, Y4) = -r2_4 - k[15] - k[16] - r23_4;
    J(Y5, Y2) = -r3_2, J(Y5, Y5) = -r3_5, J(Y5, Y6) = r6_6 + r20_6, J(Y5, Y7) = T(2) * k[3] + r6_7, J(Y5, Y9) = k[6];
    J(Y5, Y14) = k[12], J(Y5, Y17) = r20_17;
    J(Y6, Y1) = -r14_1, J(Y6, Y2) = r3_2, J(Y6, Y5) = r3_5, J(Y6, Y6) = -r6_6 - r8_6 - r14_6 - r20_6, J(Y6, Y7) = -r6_7;
    J(Y6, Y9) = -r8_9, J(Y6, Y16) = T(2) * k[17], J(Y6, Y17) = -r20_17;
    J(Y7, Y6) = -r6_6, J(Y7, Y7) = -k[3] - k[4] - r6_7, J(Y7, Y14) = k[12];
    J(Y8, Y6) = r6_6, J(Y8, Y7) = k[3] + k[4] + r6_7, J(Y8, Y9) = k[6];
    J(Y9, Y6) = -r8_6, J(Y9, Y9) = -k[6] - r8_9;
    J(Y10, Y2) = r9_2 - r12_2, J(Y10, Y9) = k[6], J(Y10, Y10) = -r12_10, J(Y10, Y11) = r9_11;
    J(Y11, Y1) = -r10_1, J(Y11, Y2) = -r9_2, J(Y11, Y6) = r8_6, J(Y11, Y9) = r8_9, J(Y11, Y11) = -r9_11 - r10_11, J(Y11, Y13) = k[10];
    J(Y12, Y2) = r9_2, J(Y12, Y11) = r9_11;
    J(Y13, Y1) = r10_1, J(Y13, Y11) = r10_11, J(Y13, Y13) = -k[10];
    J(Y14, Y2) = r12_2, J(Y14, Y10) = r12_10, J(Y14, Y14) = -k[12];
    J(Y15, Y1) = r14_1, J(Y15, Y6) = r14_6;
    J(Y16, Y4) = k[15], J(Y16, Y16) = -k[17] - k[18];
    J(Y17, Y6) = -r20_6, J(Y17, Y17) = -r20_17;
    J(Y18, Y6) = r20_6, J(Y18, Y17) = r20_17;
    J(Y19, Y1) = r23_1 - r24_1, J(Y19, Y4) = r23_4, J(Y19, Y19) = -k[20] - k[21] - r24_19, J(Y19, Y20) = k[24];
    J(Y20, Y1) = r24_1, J(Y20, Y19) = r24_19, J(Y20, Y20) = -k[24];
#undef J
  }
  __device__ __forceinline__ void output(const T *x, T *values) const {
#pragma unroll
    for (int j = 0; j < STATES; j++) values[j] = x[j];
  }
};
