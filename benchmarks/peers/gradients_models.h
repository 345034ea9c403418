/* The models of ../gradients_models.py and OralDrug1, from their equations; HIRES is that of the test set for IVP solvers.
 *
 * Included once for each number type: define NUMBER and NAMED(x) first. With complex numbers, the imaginary part of
 * rates(x + i e s, p + i e d, u + i e w) / e is the exact derivative of the rates in the direction (s, d, w).
 * The order of states and parameters is that of ../gradients_questions.py.
 */

/* One compartment behind the gut; ka, CL, V, F. */
static void NAMED(oral)(double t, const NUMBER *x, const NUMBER *p, NUMBER u, NUMBER *dx) {
  (void)t;
  dx[0] = p[3] * u - p[0] * x[0];
  dx[1] = p[0] * x[0] - p[1] / p[2] * x[1];
}

/* Stomach, intestine, glucose, insulin action, insulin; k_empty, k_absorb, V, S_G, Gb, p2, S_I, n, Ib. */
static void NAMED(meal)(double t, const NUMBER *x, const NUMBER *p, NUMBER u, NUMBER *dx) {
  (void)t;
  NUMBER share = x[2] / p[4];
  dx[0] = u - p[0] * x[0];
  dx[1] = p[0] * x[0] - p[1] * x[1];
  dx[2] = p[3] * (p[4] - x[2]) - x[3] * x[2] + p[1] * x[1] / p[2];
  dx[3] = p[5] * (p[6] * (x[4] - p[8]) - x[3]);
  dx[4] = p[7] * (p[8] * share * share - x[4]);
}

/* The same states and whether the pump runs; k_empty, k_absorb, V, S_G, Gb, p2, S_I, n, rate, high, low. */
static void NAMED(pump)(double t, const NUMBER *x, const NUMBER *p, NUMBER u, NUMBER *dx) {
  (void)t;
  dx[0] = u - p[0] * x[0];
  dx[1] = p[0] * x[0] - p[1] * x[1];
  dx[2] = p[3] * (p[4] - x[2]) - x[3] * x[2] + p[1] * x[1] / p[2];
  dx[3] = p[5] * (p[6] * x[4] - x[3]);
  dx[4] = p[8] * x[5] - p[7] * x[4];
  dx[5] = 0.0;
}

/* k1 ... k6, k_plus, k_minus, k_star, oks. */
static void NAMED(hires)(double t, const NUMBER *x, const NUMBER *p, NUMBER u, NUMBER *dx) {
  (void)t, (void)u;
  NUMBER bound = p[6] * x[5] * x[7], freed = (p[1] + p[7] + p[8]) * x[6];
  dx[0] = -p[0] * x[0] + p[1] * x[1] + p[5] * x[2] + p[9];
  dx[1] = p[0] * x[0] - (p[1] + p[2]) * x[1];
  dx[2] = -(p[5] + p[0]) * x[2] + p[1] * x[3] + p[4] * x[4];
  dx[3] = p[2] * x[1] + p[0] * x[2] - (p[3] + p[1]) * x[3];
  dx[4] = -(p[4] + p[0]) * x[4] + p[1] * (x[5] + x[6]);
  dx[5] = -bound + p[3] * x[3] + p[0] * x[4] - p[1] * x[5] + p[7] * x[6];
  dx[6] = bound - freed;
  dx[7] = freed - bound;
}

static void NAMED(circulation)(double t, const NUMBER *x, const NUMBER *p, NUMBER u, NUMBER *dx) {
  (void)u;
  NAMED(rates)(t, x, p, dx);
}
