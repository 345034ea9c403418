// CVODE (SUNDIALS) on the circulation, one twin after another on each core, with a compiled right-hand side: values, and
// forward sensitivities by dual numbers solved together with the states.
#include <cmath>
#include <cstddef>
#include <vector>

struct Dual;
struct Truth { bool value; };
constexpr int DIRECTIONS = 5;
struct Dual {
    double v, d[DIRECTIONS];
    Dual() : v(0), d{} {}
    Dual(double x) : v(x), d{} {}
};
inline Dual operator+(Dual a, const Dual& b) { a.v += b.v; for (int i = 0; i < DIRECTIONS; ++i) a.d[i] += b.d[i]; return a; }
inline Dual operator-(Dual a, const Dual& b) { a.v -= b.v; for (int i = 0; i < DIRECTIONS; ++i) a.d[i] -= b.d[i]; return a; }
inline Dual operator*(const Dual& a, const Dual& b) {
    Dual r(a.v * b.v);
    for (int i = 0; i < DIRECTIONS; ++i) r.d[i] = a.d[i] * b.v + a.v * b.d[i];
    return r;
}
inline Dual operator/(const Dual& a, const Dual& b) {
    Dual r(a.v / b.v);
    for (int i = 0; i < DIRECTIONS; ++i) r.d[i] = (a.d[i] - r.v * b.d[i]) / b.v;
    return r;
}
inline Dual floor_(const Dual& x) { return Dual(std::floor(x.v)); }
inline Dual cos_pi(const Dual& x) {
    Dual r(std::cos(M_PI * x.v));
    const double slope = -M_PI * std::sin(M_PI * x.v);
    for (int i = 0; i < DIRECTIONS; ++i) r.d[i] = slope * x.d[i];
    return r;
}
inline Truth less(const Dual& a, const Dual& b) { return Truth{a.v < b.v}; }
inline Dual choose(Truth c, const Dual& yes, const Dual& no) { return c.value ? yes : no; }

#include "circulation.hpp"

#include <cvodes/cvodes.h>
#include <nvector/nvector_serial.h>
#include <sunlinsol/sunlinsol_dense.h>
#include <sunmatrix/sunmatrix_dense.h>
#include <sunnonlinsol/sunnonlinsol_fixedpoint.h>

static int f_values(sunrealtype t, N_Vector y, N_Vector dy, void* twin) {
    rates<double>(t, *(const Twin<double>*)twin, N_VGetArrayPointer(y), N_VGetArrayPointer(dy));
    return 0;
}

// states first, then each direction's sensitivities
static int f_duals(sunrealtype t, N_Vector y, N_Vector dy, void* twin) {
    const double* in = N_VGetArrayPointer(y);
    double* out = N_VGetArrayPointer(dy);
    Dual x[N_STATES], r[N_STATES];
    for (int i = 0; i < N_STATES; ++i) {
        x[i].v = in[i];
        for (int k = 0; k < DIRECTIONS; ++k) x[i].d[k] = in[(1 + k) * N_STATES + i];
    }
    rates<Dual>(Dual(t), *(const Twin<Dual>*)twin, x, r);
    for (int i = 0; i < N_STATES; ++i) {
        out[i] = r[i].v;
        for (int k = 0; k < DIRECTIONS; ++k) out[(1 + k) * N_STATES + i] = r[i].d[k];
    }
    return 0;
}

static int one(CVRhsFn f, void* twin, int size, const double* scale, const double* start, int saves, const double* times,
               double rtol, double atol, int stiff, double* out) {
    SUNContext context;
#if SUNDIALS_VERSION_MAJOR >= 7
    if (SUNContext_Create(SUN_COMM_NULL, &context)) return 1;
#else
    if (SUNContext_Create(nullptr, &context)) return 1;
#endif
    N_Vector y = N_VNew_Serial(size, context), tolerance = N_VNew_Serial(size, context);
    for (int i = 0; i < size; ++i) {
        NV_Ith_S(y, i) = start[i];
        NV_Ith_S(tolerance, i) = atol * scale[i / N_STATES];
    }
    void* solver = CVodeCreate(stiff ? CV_BDF : CV_ADAMS, context);
    CVodeInit(solver, f, times[0], y);
    CVodeSVtolerances(solver, rtol, tolerance);
    CVodeSetUserData(solver, twin);
    CVodeSetMaxNumSteps(solver, 100000000);
    SUNMatrix matrix = nullptr;
    SUNLinearSolver linear = nullptr;
    SUNNonlinearSolver fixed = nullptr;
    if (stiff) {
        matrix = SUNDenseMatrix(size, size, context);
        linear = SUNLinSol_Dense(y, matrix, context);
        CVodeSetLinearSolver(solver, linear, matrix);
    } else {
        fixed = SUNNonlinSol_FixedPoint(y, 0, context);
        CVodeSetNonlinearSolver(solver, fixed);
    }
    int failed = 0;
    for (int s = 0; s < saves && !failed; ++s) {
        sunrealtype t;
        if (s > 0) failed = CVode(solver, times[s], y, &t, CV_NORMAL) < 0;
        for (int i = 0; i < size; ++i) out[(size_t)s * size + i] = failed ? NAN : NV_Ith_S(y, i);
    }
    CVodeFree(&solver);
    if (linear) SUNLinSolFree(linear);
    if (matrix) SUNMatDestroy(matrix);
    if (fixed) SUNNonlinSolFree(fixed);
    N_VDestroy(y);
    N_VDestroy(tolerance);
    SUNContext_Free(&context);
    return failed;
}

// parameters [twins][N_PARAMETERS], start [N_STATES], out [twins][saves][N_STATES], failed [twins]
extern "C" void cvode_values(int twins, const double* parameters, const double* start, int saves, const double* times,
                             double rtol, double atol, int stiff, double* out, int* failed) {
    const double scale[1] = {1.0};
#pragma omp parallel for schedule(dynamic, 1)
    for (int i = 0; i < twins; ++i) {
        Twin<double> twin(parameters + (size_t)i * N_PARAMETERS);
        failed[i] = one(f_values, &twin, N_STATES, scale, start, saves, times, rtol, atol, stiff,
                        out + (size_t)i * saves * N_STATES);
    }
}

// free [DIRECTIONS]: numbers of parameters; out [twins][saves][1 + DIRECTIONS][N_STATES]
extern "C" void cvode_sensitivities(int twins, const double* parameters, const int* free, const double* start, int saves,
                                    const double* times, double rtol, double atol, int stiff, double* out, int* failed) {
    constexpr int size = N_STATES * (1 + DIRECTIONS);
#pragma omp parallel for schedule(dynamic, 1)
    for (int i = 0; i < twins; ++i) {
        Dual p[N_PARAMETERS];
        double scale[1 + DIRECTIONS] = {1.0};
        for (int j = 0; j < N_PARAMETERS; ++j) p[j] = Dual(parameters[(size_t)i * N_PARAMETERS + j]);
        for (int k = 0; k < DIRECTIONS; ++k) {
            p[free[k]].d[k] = 1.0;
            scale[1 + k] = 1.0 / std::fabs(p[free[k]].v);
        }
        Twin<Dual> twin(p);
        std::vector<double> y(size, 0.0);
        for (int j = 0; j < N_STATES; ++j) y[j] = start[j];
        failed[i] = one(f_duals, &twin, size, scale, y.data(), saves, times, rtol, atol, stiff, out + (size_t)i * saves * size);
    }
}
