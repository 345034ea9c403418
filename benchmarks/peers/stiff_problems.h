/* Stiff test problems: F. Mazzia, C. Magherini, "Test Set for Initial Value Problem Solvers", release 2.4 (2008), and
 * E. Hairer, G. Wanner, "Solving Ordinary Differential Equations II" (1996), IV.10. Right-hand sides and Jacobians, written
 * from the equations there. The order of states and parameters is that of ../stiff_problems.py.
 *
 * rates(x, p, u, dx): u is an input that is constant between the solver's stops.
 * jacobian(x, p, J): column-major and full of zeros before. */

#define J(row, column) J[(row) + (column) * n]

/* ---- VDPOL */

static void vdpol_rates(const double *x, const double *p, double u, double *dx) {
  (void)u;
  dx[0] = x[1];
  dx[1] = p[0] * (1.0 - x[0] * x[0]) * x[1] - x[0];
}

static void vdpol_jacobian(const double *x, const double *p, double *J) {
  const int n = 2;
  J(0, 1) = 1.0;
  J(1, 0) = -2.0 * p[0] * x[0] * x[1] - 1.0;
  J(1, 1) = p[0] * (1.0 - x[0] * x[0]);
}

/* ---- ROBER */

static void rober_rates(const double *x, const double *p, double u, double *dx) {
  (void)u;
  double decay = p[0] * x[0], back = p[1] * x[1] * x[2], pair = p[2] * x[1] * x[1];
  dx[0] = back - decay;
  dx[1] = decay - back - pair;
  dx[2] = pair;
}

static void rober_jacobian(const double *x, const double *p, double *J) {
  const int n = 3;
  double y2 = p[1] * x[2], y3 = p[1] * x[1], pair = 2.0 * p[2] * x[1];
  J(0, 0) = -p[0], J(0, 1) = y2, J(0, 2) = y3;
  J(1, 0) = p[0], J(1, 1) = -y2 - pair, J(1, 2) = -y3;
  J(2, 1) = pair;
}

/* ---- OREGO: s, q, w */

static void orego_rates(const double *x, const double *p, double u, double *dx) {
  (void)u;
  double s = p[0], q = p[1], w = p[2];
  dx[0] = s * (x[1] + x[0] * (1.0 - q * x[0] - x[1]));
  dx[1] = (x[2] - (1.0 + x[0]) * x[1]) / s;
  dx[2] = w * (x[0] - x[2]);
}

static void orego_jacobian(const double *x, const double *p, double *J) {
  const int n = 3;
  double s = p[0], q = p[1], w = p[2];
  J(0, 0) = s * (1.0 - 2.0 * q * x[0] - x[1]), J(0, 1) = s * (1.0 - x[0]);
  J(1, 0) = -x[1] / s, J(1, 1) = -(1.0 + x[0]) / s, J(1, 2) = 1.0 / s;
  J(2, 0) = w, J(2, 2) = -w;
}

/* ---- HIRES */

enum { H_K1, H_K2, H_K3, H_K4, H_K5, H_K6, H_PLUS, H_MINUS, H_STAR, H_OKS, HIRES_PARAMETERS };

static void hires_rates(const double *x, const double *p, double u, double *dx) {
  (void)u;
  double bound = p[H_PLUS] * x[5] * x[7], freed = p[H_K2] + p[H_MINUS] + p[H_STAR];
  dx[0] = -p[H_K1] * x[0] + p[H_K2] * x[1] + p[H_K6] * x[2] + p[H_OKS];
  dx[1] = p[H_K1] * x[0] - (p[H_K2] + p[H_K3]) * x[1];
  dx[2] = -(p[H_K6] + p[H_K1]) * x[2] + p[H_K2] * x[3] + p[H_K5] * x[4];
  dx[3] = p[H_K3] * x[1] + p[H_K1] * x[2] - (p[H_K4] + p[H_K2]) * x[3];
  dx[4] = -(p[H_K5] + p[H_K1]) * x[4] + p[H_K2] * (x[5] + x[6]);
  dx[5] = -bound + p[H_K4] * x[3] + p[H_K1] * x[4] - p[H_K2] * x[5] + p[H_MINUS] * x[6];
  dx[6] = bound - freed * x[6];
  dx[7] = -dx[6];
}

static void hires_jacobian(const double *x, const double *p, double *J) {
  const int n = 8;
  double freed = p[H_K2] + p[H_MINUS] + p[H_STAR], y6 = p[H_PLUS] * x[7], y8 = p[H_PLUS] * x[5];
  J(0, 0) = -p[H_K1], J(0, 1) = p[H_K2], J(0, 2) = p[H_K6];
  J(1, 0) = p[H_K1], J(1, 1) = -p[H_K2] - p[H_K3];
  J(2, 2) = -p[H_K6] - p[H_K1], J(2, 3) = p[H_K2], J(2, 4) = p[H_K5];
  J(3, 1) = p[H_K3], J(3, 2) = p[H_K1], J(3, 3) = -p[H_K4] - p[H_K2];
  J(4, 4) = -p[H_K5] - p[H_K1], J(4, 5) = p[H_K2], J(4, 6) = p[H_K2];
  J(5, 3) = p[H_K4], J(5, 4) = p[H_K1], J(5, 5) = -y6 - p[H_K2], J(5, 6) = p[H_MINUS], J(5, 7) = -y8;
  J(6, 5) = y6, J(6, 6) = -freed, J(6, 7) = y8;
  J(7, 5) = -y6, J(7, 6) = freed, J(7, 7) = -y8;
}

/* ---- POLLU: 25 reactions; parameter i is the rate constant of reaction i + 1 */

static void pollu_rates(const double *y, const double *k, double u, double *dy) {
  (void)u;
  double r1 = k[0] * y[0], r2 = k[1] * y[1] * y[3], r3 = k[2] * y[4] * y[1], r4 = k[3] * y[6], r5 = k[4] * y[6];
  double r6 = k[5] * y[6] * y[5], r7 = k[6] * y[8], r8 = k[7] * y[8] * y[5], r9 = k[8] * y[10] * y[1];
  double r10 = k[9] * y[10] * y[0], r11 = k[10] * y[12], r12 = k[11] * y[9] * y[1], r13 = k[12] * y[13];
  double r14 = k[13] * y[0] * y[5], r15 = k[14] * y[2], r16 = k[15] * y[3], r17 = k[16] * y[3], r18 = k[17] * y[15];
  double r19 = k[18] * y[15], r20 = k[19] * y[16] * y[5], r21 = k[20] * y[18], r22 = k[21] * y[18];
  double r23 = k[22] * y[0] * y[3], r24 = k[23] * y[18] * y[0], r25 = k[24] * y[19];
  dy[0] = r2 + r3 + r9 + r11 + r12 + r22 + r25 - r1 - r10 - r14 - r23 - r24;
  dy[1] = r1 + r21 - r2 - r3 - r9 - r12;
  dy[2] = r1 + r17 + r19 + r22 - r15;
  dy[3] = r15 - r2 - r16 - r17 - r23;
  dy[4] = 2.0 * r4 + r6 + r7 + r13 + r20 - r3;
  dy[5] = r3 + 2.0 * r18 - r6 - r8 - r14 - r20;
  dy[6] = r13 - r4 - r5 - r6;
  dy[7] = r4 + r5 + r6 + r7;
  dy[8] = -r7 - r8;
  dy[9] = r7 + r9 - r12;
  dy[10] = r8 + r11 - r9 - r10;
  dy[11] = r9;
  dy[12] = r10 - r11;
  dy[13] = r12 - r13;
  dy[14] = r14;
  dy[15] = r16 - r18 - r19;
  dy[16] = -r20;
  dy[17] = r20;
  dy[18] = r23 + r25 - r21 - r22 - r24;
  dy[19] = r24 - r25;
}

static void pollu_jacobian(const double *y, const double *k, double *J) {
  const int n = 20;
  /* derivative of reaction a's rate with respect to species b: r<a>_<b> */
  double r2_2 = k[1] * y[3], r2_4 = k[1] * y[1], r3_5 = k[2] * y[1], r3_2 = k[2] * y[4], r6_7 = k[5] * y[5];
  double r6_6 = k[5] * y[6], r8_9 = k[7] * y[5], r8_6 = k[7] * y[8], r9_11 = k[8] * y[1], r9_2 = k[8] * y[10];
  double r10_11 = k[9] * y[0], r10_1 = k[9] * y[10], r12_10 = k[11] * y[1], r12_2 = k[11] * y[9];
  double r14_1 = k[13] * y[5], r14_6 = k[13] * y[0], r20_17 = k[19] * y[5], r20_6 = k[19] * y[16];
  double r23_1 = k[22] * y[3], r23_4 = k[22] * y[0], r24_19 = k[23] * y[0], r24_1 = k[23] * y[18];
  J(0, 0) = -k[0] - r10_1 - r14_1 - r23_1 - r24_1, J(0, 1) = r2_2 + r3_2 + r9_2 + r12_2;
  J(0, 3) = r2_4 - r23_4, J(0, 4) = r3_5, J(0, 5) = -r14_6, J(0, 9) = r12_10, J(0, 10) = r9_11 - r10_11;
  J(0, 12) = k[10], J(0, 18) = k[21] - r24_19, J(0, 19) = k[24];
  J(1, 0) = k[0], J(1, 1) = -r2_2 - r3_2 - r9_2 - r12_2, J(1, 3) = -r2_4, J(1, 4) = -r3_5;
  J(1, 9) = -r12_10, J(1, 10) = -r9_11, J(1, 18) = k[20];
  J(2, 0) = k[0], J(2, 2) = -k[14], J(2, 3) = k[16], J(2, 15) = k[18], J(2, 18) = k[21];
  J(3, 0) = -r23_1, J(3, 1) = -r2_2, J(3, 2) = k[14], J(3, 3) = -r2_4 - k[15] - k[16] - r23_4;
  J(4, 1) = -r3_2, J(4, 4) = -r3_5, J(4, 5) = r6_6 + r20_6, J(4, 6) = 2.0 * k[3] + r6_7, J(4, 8) = k[6];
  J(4, 13) = k[12], J(4, 16) = r20_17;
  J(5, 0) = -r14_1, J(5, 1) = r3_2, J(5, 4) = r3_5, J(5, 5) = -r6_6 - r8_6 - r14_6 - r20_6, J(5, 6) = -r6_7;
  J(5, 8) = -r8_9, J(5, 15) = 2.0 * k[17], J(5, 16) = -r20_17;
  J(6, 5) = -r6_6, J(6, 6) = -k[3] - k[4] - r6_7, J(6, 13) = k[12];
  J(7, 5) = r6_6, J(7, 6) = k[3] + k[4] + r6_7, J(7, 8) = k[6];
  J(8, 5) = -r8_6, J(8, 8) = -k[6] - r8_9;
  J(9, 1) = r9_2 - r12_2, J(9, 8) = k[6], J(9, 9) = -r12_10, J(9, 10) = r9_11;
  J(10, 0) = -r10_1, J(10, 1) = -r9_2, J(10, 5) = r8_6, J(10, 8) = r8_9, J(10, 10) = -r9_11 - r10_11, J(10, 12) = k[10];
  J(11, 1) = r9_2, J(11, 10) = r9_11;
  J(12, 0) = r10_1, J(12, 10) = r10_11, J(12, 12) = -k[10];
  J(13, 1) = r12_2, J(13, 9) = r12_10, J(13, 13) = -k[12];
  J(14, 0) = r14_1, J(14, 5) = r14_6;
  J(15, 3) = k[15], J(15, 15) = -k[17] - k[18];
  J(16, 5) = -r20_6, J(16, 16) = -r20_17;
  J(17, 5) = r20_6, J(17, 16) = r20_17;
  J(18, 0) = r23_1 - r24_1, J(18, 3) = r23_4, J(18, 18) = -k[20] - k[21] - r24_19, J(18, 19) = k[24];
  J(19, 0) = r24_1, J(19, 18) = r24_19, J(19, 19) = -k[24];
}

#undef J
