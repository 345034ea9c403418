// The four-chamber circulation of Regazzoni et al. 2022 (J Comput Phys 457:111083), for any number type: a double, a vector
// of doubles or floats (one twin in each slot), or a dual number that carries derivatives.
//
// Parameters come in the order of `PARAMETERS` in circulation.py, states in that of `STATES`.
#pragma once
#include <cmath>

enum Parameter {
    T_HB, tC_A, TC_A, TR_A, tC_V, TC_V, TR_V,
    EA_LA, EB_LA, V0_LA, EA_LV, EB_LV, V0_LV, EA_RA, EB_RA, V0_RA, EA_RV, EB_RV, V0_RV,
    Rmin, Rmax,
    R_AR_SYS, C_AR_SYS, L_AR_SYS, R_VEN_SYS, C_VEN_SYS, L_VEN_SYS,
    R_AR_PUL, C_AR_PUL, L_AR_PUL, R_VEN_PUL, C_VEN_PUL, L_VEN_PUL,
    N_PARAMETERS
};

enum State {
    V_LA, V_LV, V_RA, V_RV,
    p_AR_SYS, p_VEN_SYS, p_AR_PUL, p_VEN_PUL,
    Q_AR_SYS, Q_VEN_SYS, Q_AR_PUL, Q_VEN_PUL,
    N_STATES
};

// What does not change over time, computed once a twin: divisions become products.
template <class T> struct Twin {
    T period_inv;
    T onset_a, up_a, up_a_inv, down_a_inv, onset_v, up_v, up_v_inv, down_v_inv;
    T ea_la, eb_la, v0_la, ea_lv, eb_lv, v0_lv, ea_ra, eb_ra, v0_ra, ea_rv, eb_rv, v0_rv;
    T forwards, backwards;
    T r_as, c_as, l_as, r_vs, c_vs, l_vs, r_ap, c_ap, l_ap, r_vp, c_vp, l_vp;

    explicit Twin(const T* p) {
        auto inverse = [](T x) { return T(1.0 / x); };
        period_inv = inverse(p[T_HB]);
        onset_a = p[tC_A]; up_a = p[TC_A]; up_a_inv = inverse(p[TC_A]); down_a_inv = inverse(p[TR_A]);
        onset_v = p[tC_V]; up_v = p[TC_V]; up_v_inv = inverse(p[TC_V]); down_v_inv = inverse(p[TR_V]);
        ea_la = p[EA_LA]; eb_la = p[EB_LA]; v0_la = p[V0_LA];
        ea_lv = p[EA_LV]; eb_lv = p[EB_LV]; v0_lv = p[V0_LV];
        ea_ra = p[EA_RA]; eb_ra = p[EB_RA]; v0_ra = p[V0_RA];
        ea_rv = p[EA_RV]; eb_rv = p[EB_RV]; v0_rv = p[V0_RV];
        forwards = inverse(p[Rmin]); backwards = inverse(p[Rmax]);
        r_as = p[R_AR_SYS]; c_as = inverse(p[C_AR_SYS]); l_as = inverse(p[L_AR_SYS]);
        r_vs = p[R_VEN_SYS]; c_vs = inverse(p[C_VEN_SYS]); l_vs = inverse(p[L_VEN_SYS]);
        r_ap = p[R_AR_PUL]; c_ap = inverse(p[C_AR_PUL]); l_ap = inverse(p[L_AR_PUL]);
        r_vp = p[R_VEN_PUL]; c_vp = inverse(p[C_VEN_PUL]); l_vp = inverse(p[L_VEN_PUL]);
    }
};

// Number types provide these four, declared before this header is included (cos_pi for 0 <= x <= 2).
inline double floor_(double x) { return std::floor(x); }
inline double cos_pi(double x) { return std::cos(M_PI * x); }
inline bool less(double a, double b) { return a < b; }
inline double choose(bool c, double yes, double no) { return c ? yes : no; }

template <class T>
inline T activation(T beats, T onset, T up, T up_inv, T down_inv) {
    const T since = beats - onset;
    const T share = since - floor_(since);
    const T falling = 1.0 + (share - up) * down_inv;
    const T rest = T(share * 0.0 + 2.0);
    const T turns = choose(less(share, up), T(share * up_inv), choose(less(falling, rest), falling, rest));
    return 0.5 - 0.5 * cos_pi(turns);
}

template <class T>
inline T valve(T before, T behind, T forwards, T backwards) {
    return (before - behind) * choose(less(behind, before), forwards, backwards);
}

template <class T>
inline void rates(T t, const Twin<T>& w, const T* y, T* dy) {
    const T beats = t * w.period_inv;
    const T atria = activation<T>(beats, w.onset_a, w.up_a, w.up_a_inv, w.down_a_inv);
    const T ventricles = activation<T>(beats, w.onset_v, w.up_v, w.up_v_inv, w.down_v_inv);
    const T p_la = (w.eb_la + w.ea_la * atria) * (y[V_LA] - w.v0_la);
    const T p_lv = (w.eb_lv + w.ea_lv * ventricles) * (y[V_LV] - w.v0_lv);
    const T p_ra = (w.eb_ra + w.ea_ra * atria) * (y[V_RA] - w.v0_ra);
    const T p_rv = (w.eb_rv + w.ea_rv * ventricles) * (y[V_RV] - w.v0_rv);
    const T mitral = valve<T>(p_la, p_lv, w.forwards, w.backwards);
    const T aortic = valve<T>(p_lv, y[p_AR_SYS], w.forwards, w.backwards);
    const T tricuspid = valve<T>(p_ra, p_rv, w.forwards, w.backwards);
    const T pulmonary = valve<T>(p_rv, y[p_AR_PUL], w.forwards, w.backwards);
    dy[V_LA] = y[Q_VEN_PUL] - mitral;
    dy[V_LV] = mitral - aortic;
    dy[V_RA] = y[Q_VEN_SYS] - tricuspid;
    dy[V_RV] = tricuspid - pulmonary;
    dy[p_AR_SYS] = (aortic - y[Q_AR_SYS]) * w.c_as;
    dy[p_VEN_SYS] = (y[Q_AR_SYS] - y[Q_VEN_SYS]) * w.c_vs;
    dy[p_AR_PUL] = (pulmonary - y[Q_AR_PUL]) * w.c_ap;
    dy[p_VEN_PUL] = (y[Q_AR_PUL] - y[Q_VEN_PUL]) * w.c_vp;
    dy[Q_AR_SYS] = (y[p_AR_SYS] - y[p_VEN_SYS] - w.r_as * y[Q_AR_SYS]) * w.l_as;
    dy[Q_VEN_SYS] = (y[p_VEN_SYS] - p_ra - w.r_vs * y[Q_VEN_SYS]) * w.l_vs;
    dy[Q_AR_PUL] = (y[p_AR_PUL] - y[p_VEN_PUL] - w.r_ap * y[Q_AR_PUL]) * w.l_ap;
    dy[Q_VEN_PUL] = (y[p_VEN_PUL] - p_la - w.r_vp * y[Q_VEN_PUL]) * w.l_vp;
}
