"""Equations of heart cells once more, in plain Python: from their CellML encodings, one statement after the other.

They share nothing with `vht.organs`. Times in ms, potentials in mV, concentrations in mmol/L. `p` holds the parameters as
attributes; `y` the states in the order of the names beside each function.
"""

from math import exp, log, sqrt

NOBLE = ("V", "m", "h", "n")


def noble(y, p, stimulus):
    """Noble 1962: rates of the four states; stimulus in uA/cm^2."""
    V, m, h, n = y
    i_Na = (m**3 * h * p.g_Na + p.g_Nab) * (V - p.E_Na)
    alpha_m = 0.1 * (-V - 48) / (exp((-V - 48) / 15) - 1)
    beta_m = 0.12 * (V + 8) / (exp((V + 8) / 5) - 1)
    alpha_h = 0.17 * exp((-V - 90) / 20)
    beta_h = 1 / (exp((-V - 42) / 10) + 1)
    g_K1 = p.g_K1 * exp((-V - 90) / 50) + p.g_K1b * exp((V + 90) / 60)
    i_K = (g_K1 + p.g_K2 * n**4) * (V - p.E_K)
    alpha_n = 0.0001 * (-V - 50) / (exp((-V - 50) / 10) - 1)
    beta_n = 0.002 * exp((-V - 90) / 80)
    i_Leak = p.g_L * (V - p.E_L)
    return [
        -(stimulus + i_Na + i_K + i_Leak) / p.Cm,
        alpha_m * (1 - m) - beta_m * m,
        alpha_h * (1 - h) - beta_h * h,
        alpha_n * (1 - n) - beta_n * n,
    ]


TEN_TUSSCHER = (
    *("V", "Xr1", "Xr2", "Xs", "m", "h", "j", "d", "f", "f2", "fCass", "s", "r"),
    *("Ca_i", "Ca_SR", "Ca_ss", "R_prime", "Na_i", "K_i"),
)


def ten_tusscher(y, p, stimulus, endo=False):
    """Ten Tusscher and Panfilov 2006: rates of the 19 states; stimulus in pA/pF. `endo` chooses the kinetics of `s`."""
    V, Xr1, Xr2, Xs, m, h, j, d, f, f2, fCass, s, r, Ca_i, Ca_SR, Ca_ss, R_prime, Na_i, K_i = y
    R, F, T = 8314.472, 96485.3415, p.T
    E_Na = R * T / F * log(p.Na_o / Na_i)
    E_K = R * T / F * log(p.K_o / K_i)
    E_Ks = R * T / F * log((p.K_o + p.P_kna * p.Na_o) / (K_i + p.P_kna * Na_i))
    E_Ca = 0.5 * R * T / F * log(p.Ca_o / Ca_i)

    alpha_K1 = 0.1 / (1 + exp(0.06 * (V - E_K - 200)))
    beta_K1 = (3 * exp(0.0002 * (V - E_K + 100)) + exp(0.1 * (V - E_K - 10))) / (1 + exp(-0.5 * (V - E_K)))
    i_K1 = p.g_K1 * alpha_K1 / (alpha_K1 + beta_K1) * sqrt(p.K_o / 5.4) * (V - E_K)

    i_Kr = p.g_Kr * sqrt(p.K_o / 5.4) * Xr1 * Xr2 * (V - E_K)
    xr1_inf = 1 / (1 + exp((-26 - V) / 7))
    tau_xr1 = 450 / (1 + exp((-45 - V) / 10)) * 6 / (1 + exp((V + 30) / 11.5))
    xr2_inf = 1 / (1 + exp((V + 88) / 24))
    tau_xr2 = 3 / (1 + exp((-60 - V) / 20)) * 1.12 / (1 + exp((V - 60) / 20))

    i_Ks = p.g_Ks * Xs**2 * (V - E_Ks)
    xs_inf = 1 / (1 + exp((-5 - V) / 14))
    tau_xs = 1400 / sqrt(1 + exp((5 - V) / 6)) * 1 / (1 + exp((V - 35) / 15)) + 80

    i_Na = p.g_Na * m**3 * h * j * (V - E_Na)
    m_inf = 1 / (1 + exp((-56.86 - V) / 9.03)) ** 2
    alpha_m = 1 / (1 + exp((-60 - V) / 5))
    beta_m = 0.1 / (1 + exp((V + 35) / 5)) + 0.1 / (1 + exp((V - 50) / 200))
    tau_m = alpha_m * beta_m
    h_inf = 1 / (1 + exp((V + 71.55) / 7.43)) ** 2
    if V < -40:
        alpha_h = 0.057 * exp(-(V + 80) / 6.8)
        beta_h = 2.7 * exp(0.079 * V) + 310000 * exp(0.3485 * V)
        alpha_j = (-25428 * exp(0.2444 * V) - 6.948e-6 * exp(-0.04391 * V)) * (V + 37.78)
        alpha_j = alpha_j / (1 + exp(0.311 * (V + 79.23)))
        beta_j = 0.02424 * exp(-0.01052 * V) / (1 + exp(-0.1378 * (V + 40.14)))
    else:
        alpha_h = 0
        beta_h = 0.77 / (0.13 * (1 + exp((V + 10.66) / -11.1)))
        alpha_j = 0
        beta_j = 0.6 * exp(0.057 * V) / (1 + exp(-0.1 * (V + 32)))
    i_b_Na = p.g_bna * (V - E_Na)

    x = exp(2 * (V - 15) * F / (R * T))
    i_CaL = p.g_CaL * d * f * f2 * fCass * 4 * (V - 15) * F**2 / (R * T) * (0.25 * Ca_ss * x - p.Ca_o) / (x - 1)
    d_inf = 1 / (1 + exp((-8 - V) / 7.5))
    alpha_d = 1.4 / (1 + exp((-35 - V) / 13)) + 0.25
    beta_d = 1.4 / (1 + exp((V + 5) / 5))
    gamma_d = 1 / (1 + exp((50 - V) / 20))
    f_inf = 1 / (1 + exp((V + 20) / 7))
    tau_f = 1102.5 * exp(-((V + 27) ** 2) / 225) + 200 / (1 + exp((13 - V) / 10)) + 180 / (1 + exp((V + 30) / 10)) + 20
    f2_inf = 0.67 / (1 + exp((V + 35) / 7)) + 0.33
    tau_f2 = 562 * exp(-((V + 27) ** 2) / 240) + 31 / (1 + exp((25 - V) / 10)) + 80 / (1 + exp((V + 30) / 10))
    fCass_inf = 0.6 / (1 + (Ca_ss / 0.05) ** 2) + 0.4
    tau_fCass = 80 / (1 + (Ca_ss / 0.05) ** 2) + 2
    i_b_Ca = p.g_bca * (V - E_Ca)

    i_to = p.g_to * r * s * (V - E_K)
    if endo:
        s_inf = 1 / (1 + exp((V + 28) / 5))
        tau_s = 1000 * exp(-((V + 67) ** 2) / 1000) + 8
    else:
        s_inf = 1 / (1 + exp((V + 20) / 5))
        tau_s = 85 * exp(-((V + 45) ** 2) / 320) + 5 / (1 + exp((V - 20) / 5)) + 3
    r_inf = 1 / (1 + exp((20 - V) / 6))
    tau_r = 9.5 * exp(-((V + 40) ** 2) / 1800) + 0.8

    i_NaK = p.P_NaK * p.K_o / (p.K_o + p.K_mk) * Na_i / (Na_i + p.K_mNa)
    i_NaK = i_NaK / (1 + 0.1245 * exp(-0.1 * V * F / (R * T)) + 0.0353 * exp(-V * F / (R * T)))
    into = exp(p.gamma * V * F / (R * T)) * Na_i**3 * p.Ca_o
    out = exp((p.gamma - 1) * V * F / (R * T)) * p.Na_o**3 * Ca_i * p.alpha
    below = (p.Km_Nai**3 + p.Na_o**3) * (p.Km_Ca + p.Ca_o) * (1 + p.K_sat * exp((p.gamma - 1) * V * F / (R * T)))
    i_NaCa = p.K_NaCa * (into - out) / below
    i_p_Ca = p.g_pCa * Ca_i / (Ca_i + p.K_pCa)
    i_p_K = p.g_pK * (V - E_K) / (1 + exp((25 - V) / 5.98))

    kcasr = p.max_sr - (p.max_sr - p.min_sr) / (1 + (p.EC / Ca_SR) ** 2)
    k1, k2 = p.k1_prime / kcasr, p.k2_prime * kcasr
    O = k1 * Ca_ss**2 * R_prime / (p.k3 + k1 * Ca_ss**2)
    i_rel = p.V_rel * O * (Ca_SR - Ca_ss)
    i_up = p.Vmax_up / (1 + p.K_up**2 / Ca_i**2)
    i_leak = p.V_leak * (Ca_SR - Ca_i)
    i_xfer = p.V_xfer * (Ca_ss - Ca_i)
    bufc = 1 / (1 + p.Buf_c * p.K_buf_c / (Ca_i + p.K_buf_c) ** 2)
    bufsr = 1 / (1 + p.Buf_sr * p.K_buf_sr / (Ca_SR + p.K_buf_sr) ** 2)
    bufss = 1 / (1 + p.Buf_ss * p.K_buf_ss / (Ca_ss + p.K_buf_ss) ** 2)
    ionic = i_K1 + i_to + i_Kr + i_Ks + i_CaL + i_NaK + i_Na + i_b_Na + i_NaCa + i_b_Ca + i_p_K + i_p_Ca
    return [
        -(ionic + stimulus),
        (xr1_inf - Xr1) / tau_xr1,
        (xr2_inf - Xr2) / tau_xr2,
        (xs_inf - Xs) / tau_xs,
        (m_inf - m) / tau_m,
        (h_inf - h) * (alpha_h + beta_h),
        (h_inf - j) * (alpha_j + beta_j),
        (d_inf - d) / (alpha_d * beta_d + gamma_d),
        (f_inf - f) / tau_f,
        (f2_inf - f2) / tau_f2,
        (fCass_inf - fCass) / tau_fCass,
        (s_inf - s) / tau_s,
        (r_inf - r) / tau_r,
        bufc * ((i_leak - i_up) * p.V_sr / p.V_c + i_xfer - (i_b_Ca + i_p_Ca - 2 * i_NaCa) * p.Cm / (2 * p.V_c * F)),
        bufsr * (i_up - (i_rel + i_leak)),
        bufss * (-i_CaL * p.Cm / (2 * p.V_ss * F) + i_rel * p.V_sr / p.V_ss - i_xfer * p.V_c / p.V_ss),
        -k2 * Ca_ss * R_prime + p.k4 * (1 - R_prime),
        -(i_Na + i_b_Na + 3 * i_NaK + 3 * i_NaCa) * p.Cm / (p.V_c * F),
        -(i_K1 + i_to + i_Kr + i_Ks + i_p_K + stimulus - 2 * i_NaK) * p.Cm / (p.V_c * F),
    ]


OHARA_RUDY = (
    *("v", "CaMKt", "nai", "nass", "ki", "kss", "cass", "cansr", "cajsr", "cai", "m", "hf", "hs", "j", "hsp", "jp"),
    *("mL", "hL", "hLp", "a", "iF", "iS", "ap", "iFp", "iSp", "d", "ff", "fs", "fcaf", "fcas", "jca", "ffp", "fcafp"),
    *(
        "nca",
        "IC1",
        "IC2",
        "C1",
        "C2",
        "O",
        "IO",
        "IObound",
        "Obound",
        "Cbound",
        "xs1",
        "xs2",
        "xk1",
        "Jrelnp",
        "Jrelp",
    ),
)


def ohara_rudy(y, p, stimulus, celltype=0):
    """O'Hara et al. 2011 as revised by Dutta et al. 2017: rates of the 48 states; stimulus in uA/uF.

    `celltype` (0 endo, 1 epi, 2 M) chooses what the encoding writes as alternatives, except for conductances: those are `p`.
    """
    v, CaMKt, nai, nass, ki, kss, cass, cansr, cajsr, cai, m, hf, hs, j, hsp, jp, *y = y
    mL, hL, hLp, a, iF, iS, ap, iFp, iSp, d, ff, fs, fcaf, fcas, jca, ffp, fcafp, nca, *y = y
    IC1, IC2, C1, C2, O, IO, IObound, Obound, Cbound, xs1, xs2, xk1, Jrelnp, Jrelp = y
    R, F, T = 8314.0, 96485.0, p.T
    frt = F / (R * T)
    ffrt = F * frt
    vfrt = v * frt
    vcell = 1000 * 3.14 * p.rad * p.rad * p.L
    Ageo = 2 * 3.14 * p.rad * p.rad + 2 * 3.14 * p.rad * p.L
    Acap = 2 * Ageo
    vmyo, vnsr, vjsr, vss = 0.68 * vcell, 0.0552 * vcell, 0.0048 * vcell, 0.02 * vcell

    CaMKb = p.CaMKo * (1 - CaMKt) / (1 + p.KmCaM / cass)
    CaMKa = CaMKb + CaMKt
    phosphorylated = 1 / (1 + p.KmCaMK / CaMKa)
    ENa = R * T / F * log(p.nao / nai)
    EK = R * T / F * log(p.ko / ki)
    EKs = R * T / F * log((p.ko + p.PKNa * p.nao) / (ki + p.PKNa * nai))

    mss = 1 / (1 + exp(-(v + 39.57) / 9.871))
    tm = 1 / (6.765 * exp((v + 11.64) / 34.77) + 8.552 * exp(-(v + 77.42) / 5.955))
    hss = 1 / (1 + exp((v + 82.9) / 6.086))
    thf = 1 / (1.432e-5 * exp(-(v + 1.196) / 6.285) + 6.149 * exp((v + 0.5096) / 20.27))
    ths = 1 / (0.009794 * exp(-(v + 17.95) / 28.05) + 0.3343 * exp((v + 5.73) / 56.66))
    h = p.Ahf * hf + (1 - p.Ahf) * hs
    tj = 2.038 + 1 / (0.02136 * exp(-(v + 100.6) / 8.281) + 0.3052 * exp((v + 0.9941) / 38.45))
    hssp = 1 / (1 + exp((v + 89.1) / 6.086))
    thsp = 3 * ths
    hp = p.Ahf * hf + (1 - p.Ahf) * hsp
    tjp = 1.46 * tj

    def left(current):
        """What the drug leaves of a current, by its Hill equation."""
        return 1 / (1 + (p.D / getattr(p, f"{current}_IC50")) ** getattr(p, f"{current}_h"))

    INa = left("INa") * p.GNa * (v - ENa) * m**3 * ((1 - phosphorylated) * h * j + phosphorylated * hp * jp)
    mLss = 1 / (1 + exp(-(v + 42.85) / 5.264))
    hLss = 1 / (1 + exp((v + 87.61) / 7.488))
    hLssp = 1 / (1 + exp((v + 93.81) / 7.488))
    INaL = left("INaL") * p.GNaL * (v - ENa) * mL * ((1 - phosphorylated) * hL + phosphorylated * hLp)

    ass = 1 / (1 + exp(-(v - 14.34) / 14.82))
    ta = 1.0515 / (1 / (1.2089 * (1 + exp(-(v - 18.4099) / 29.3814))) + 3.5 / (1 + exp((v + 100) / 29.3814)))
    iss = 1 / (1 + exp((v + 43.94) / 5.711))
    delta_epi = 1 - 0.95 / (1 + exp((v + 70) / 5)) if celltype == 1 else 1
    tiF = (4.562 + 1 / (0.3933 * exp(-(v + 100) / 100) + 0.08004 * exp((v + 50) / 16.59))) * delta_epi
    tiS = (23.62 + 1 / (0.001416 * exp(-(v + 96.52) / 59.05) + 1.78e-8 * exp((v + 114.1) / 8.079))) * delta_epi
    AiF = 1 / (1 + exp((v - 213.6) / 151.2))
    AiS = 1 - AiF
    assp = 1 / (1 + exp(-(v - 24.34) / 14.82))
    dti_develop = 1.354 + 1e-4 / (exp((v - 167.4) / 15.89) + exp(-(v - 12.23) / 0.2154))
    dti_recover = 1 - 0.5 / (1 + exp((v + 70) / 20))
    tiFp, tiSp = dti_develop * dti_recover * tiF, dti_develop * dti_recover * tiS
    i, ip = AiF * iF + AiS * iS, AiF * iFp + AiS * iSp
    Ito = left("Ito") * p.Gto * (v - EK) * ((1 - phosphorylated) * a * i + phosphorylated * ap * ip)

    dss = 1 / (1 + exp(-(v + 3.94) / 4.23))
    td = 0.6 + 1 / (exp(-0.05 * (v + 6)) + exp(0.09 * (v + 14)))
    fss = 1 / (1 + exp((v + 19.58) / 3.696))
    tff = 7 + 1 / (0.0045 * exp(-(v + 20) / 10) + 0.0045 * exp((v + 20) / 10))
    tfs = 1000 + 1 / (0.000035 * exp(-(v + 5) / 4) + 0.000035 * exp((v + 5) / 6))
    f = 0.6 * ff + 0.4 * fs
    tfcaf = 7 + 1 / (0.04 * exp(-(v - 4) / 7) + 0.04 * exp((v - 4) / 7))
    tfcas = 100 + 1 / (0.00012 * exp(-v / 3) + 0.00012 * exp(v / 7))
    Afcaf = 0.3 + 0.6 / (1 + exp((v - 10) / 10))
    Afcas = 1 - Afcaf
    fca = Afcaf * fcaf + Afcas * fcas
    fp = 0.6 * ffp + 0.4 * fs
    fcap = Afcaf * fcafp + Afcas * fcas
    km2n = jca * 1
    anca = 1 / (p.k2n / km2n + (1 + p.Kmn / cass) ** 4)
    PhiCaL = 4 * v * ffrt * (cass * exp(2 * vfrt) - 0.341 * p.cao) / (exp(2 * vfrt) - 1)
    PhiCaNa = v * ffrt * (0.75 * nass * exp(vfrt) - 0.75 * p.nao) / (exp(vfrt) - 1)
    PhiCaK = v * ffrt * (0.75 * kss * exp(vfrt) - 0.75 * p.ko) / (exp(vfrt) - 1)

    def through_L(P, phi):
        P = left("ICaL") * P
        plain = P * phi * d * (f * (1 - nca) + jca * fca * nca)
        return (1 - phosphorylated) * plain + phosphorylated * 1.1 * P * phi * d * (fp * (1 - nca) + jca * fcap * nca)

    ICaL = through_L(p.PCa, PhiCaL)
    ICaNa = through_L(0.00125 * p.PCa, PhiCaNa)
    ICaK = through_L(3.574e-4 * p.PCa, PhiCaK)

    def k(number):
        A, B, q = (getattr(p, f"{letter}{number}") for letter in "ABq")
        return A * exp(B * v) * exp((p.Temp - 20) * log(q) / 10)

    bind = p.Kmax * p.Ku * p.D**p.n / (p.D**p.n + p.halfmax)
    free = p.Ku * k(53) / k(63)
    untrap = p.Kt / (1 + exp(-(v - p.Vhalf) / 6.789))
    IKr = p.GKr * sqrt(p.ko / 5.4) * O * (v - EK)

    xs1ss = 1 / (1 + exp(-(v + 11.6) / 8.932))
    txs1 = p.txs1_max + 1 / (2.326e-4 * exp((v + 48.28) / 17.8) + 0.001292 * exp(-(v + 210) / 230))
    txs2 = 1 / (0.01 * exp((v - 50) / 20) + 0.0193 * exp(-(v + 66.54) / 31))
    KsCa = 1 + 0.6 / (1 + (3.8e-5 / cai) ** 1.4)
    IKs = left("IKs") * p.GKs * KsCa * xs1 * xs2 * (v - EKs)
    xk1ss = 1 / (1 + exp(-(v + 2.5538 * p.ko + 144.59) / (1.5692 * p.ko + 3.8115)))
    txk1 = 122.2 / (exp(-(v + 127.2) / 20.36) + exp((v + 236.8) / 69.33))
    rk1 = 1 / (1 + exp((v + 105.8 - 2.6 * p.ko) / 9.493))
    IK1 = left("IK1") * p.GK1 * sqrt(p.ko) * rk1 * xk1 * (v - EK)

    def exchanger(share, na, ca):
        hca, hna = exp(p.qca * v * F / (R * T)), exp(p.qna * v * F / (R * T))
        h1 = 1 + na / p.kna3 * (1 + hna)
        h2 = na * hna / (p.kna3 * h1)
        h3 = 1 / h1
        h4 = 1 + na / p.kna1 * (1 + na / p.kna2)
        h5 = na * na / (h4 * p.kna1 * p.kna2)
        h6 = 1 / h4
        h7 = 1 + p.nao / p.kna3 * (1 + 1 / hna)
        h8 = p.nao / (p.kna3 * hna * h7)
        h9 = 1 / h7
        h10 = p.kasymm + 1 + p.nao / p.kna1 * (1 + p.nao / p.kna2)
        h11 = p.nao * p.nao / (h10 * p.kna1 * p.kna2)
        h12 = 1 / h10
        k1, k2 = h12 * p.cao * p.kcaon, p.kcaoff
        k3p, k3pp = h9 * p.wca, h8 * p.wnaca
        k3 = k3p + k3pp
        k4p, k4pp = h3 * p.wca / hca, h2 * p.wnaca
        k4 = k4p + k4pp
        k5, k6, k7, k8 = p.kcaoff, h6 * ca * p.kcaon, h5 * h2 * p.wna, h8 * h11 * p.wna
        x1 = k2 * k4 * (k7 + k6) + k5 * k7 * (k2 + k3)
        x2 = k1 * k7 * (k4 + k5) + k4 * k6 * (k1 + k8)
        x3 = k1 * k3 * (k7 + k6) + k8 * k6 * (k2 + k3)
        x4 = k2 * k8 * (k4 + k5) + k3 * k5 * (k1 + k8)
        total = x1 + x2 + x3 + x4
        E1, E2, E3, E4 = x1 / total, x2 / total, x3 / total, x4 / total
        allo = 1 / (1 + (p.KmCaAct / ca) ** 2)
        JncxNa = 3 * (E4 * k7 - E1 * k8) + E3 * k4pp - E2 * k3pp
        JncxCa = E2 * k2 - E1 * k1
        return share * p.Gncx * allo * (JncxNa + 2 * JncxCa)

    INaCa_i, INaCa_ss = exchanger(0.8, nai, cai), exchanger(0.2, nass, cass)

    Knai = p.Knai0 * exp(p.delta * v * F / (3 * R * T))
    Knao = p.Knao0 * exp((1 - p.delta) * v * F / (3 * R * T))
    P = p.eP / (1 + p.H / p.Khp + nai / p.Knap + ki / p.Kxkur)
    a1 = p.k1p * (nai / Knai) ** 3 / ((1 + nai / Knai) ** 3 + (1 + ki / p.Kki) ** 2 - 1)
    b1 = p.k1m * p.MgADP
    a2 = p.k2p
    b2 = p.k2m * (p.nao / Knao) ** 3 / ((1 + p.nao / Knao) ** 3 + (1 + p.ko / p.Kko) ** 2 - 1)
    a3 = p.k3p * (p.ko / p.Kko) ** 2 / ((1 + p.nao / Knao) ** 3 + (1 + p.ko / p.Kko) ** 2 - 1)
    b3 = p.k3m * P * p.H / (1 + p.MgATP / p.Kmgatp)
    a4 = p.k4p * p.MgATP / p.Kmgatp / (1 + p.MgATP / p.Kmgatp)
    b4 = p.k4m * (ki / p.Kki) ** 2 / ((1 + nai / Knai) ** 3 + (1 + ki / p.Kki) ** 2 - 1)
    x1 = a4 * a1 * a2 + b2 * b4 * b3 + a2 * b4 * b3 + b3 * a1 * a2
    x2 = b2 * b1 * b4 + a1 * a2 * a3 + a3 * b1 * b4 + a2 * a3 * b4
    x3 = a2 * a3 * a4 + b3 * b2 * b1 + b2 * b1 * a4 + a3 * a4 * b1
    x4 = b4 * b3 * b2 + a3 * a4 * a1 + b2 * a4 * a1 + b3 * b2 * a1
    total = x1 + x2 + x3 + x4
    E1, E2, E3, E4 = x1 / total, x2 / total, x3 / total, x4 / total
    INaK = p.Pnak * (3 * (E1 * a3 - E2 * b3) + 2 * (E4 * b1 - E3 * a1))

    IKb = p.GKb * (v - EK) / (1 + exp(-(v - 14.48) / 18.34))
    INab = p.PNab * v * ffrt * (nai * exp(vfrt) - p.nao) / (exp(vfrt) - 1)
    ICab = p.PCab * 4 * v * ffrt * (cai * exp(2 * vfrt) - 0.341 * p.cao) / (exp(2 * vfrt) - 1)
    IpCa = p.GpCa * cai / (p.KmCap + cai)

    JdiffNa, JdiffK, Jdiff = (nass - nai) / p.tau_diffNa, (kss - ki) / p.tau_diffK, (cass - cai) / p.tau_diff
    more = 1.7 if celltype == 2 else 1
    Jrel_inf = 0.5 * p.bt * -ICaL / (1 + (1.5 / cajsr) ** 8) * more
    tau_rel = max(p.bt / (1 + 0.0123 / cajsr), 0.001)
    btp = 1.25 * p.bt
    Jrel_infp = 0.5 * btp * -ICaL / (1 + (1.5 / cajsr) ** 8) * more
    tau_relp = max(btp / (1 + 0.0123 / cajsr), 0.001)
    Jrel = (1 - phosphorylated) * Jrelnp + phosphorylated * Jrelp
    upScale = 1.3 if celltype == 1 else 1
    Jupnp = upScale * p.Jup_max * cai / (cai + 0.00092)
    Jupp = upScale * 2.75 * p.Jup_max * cai / (cai + 0.00092 - 0.00017)
    Jup = (1 - phosphorylated) * Jupnp + phosphorylated * Jupp - p.Jleak_max * cansr / 15
    Jtr = (cansr - cajsr) / p.tau_tr

    Bcai = 1 / (1 + p.cmdnmax * p.kmcmdn / (p.kmcmdn + cai) ** 2 + p.trpnmax * p.kmtrpn / (p.kmtrpn + cai) ** 2)
    Bcass = 1 / (1 + p.BSRmax * p.KmBSR / (p.KmBSR + cass) ** 2 + p.BSLmax * p.KmBSL / (p.KmBSL + cass) ** 2)
    Bcajsr = 1 / (1 + p.csqnmax * p.kmcsqn / (p.kmcsqn + cajsr) ** 2)
    myo, ss = p.cm * Acap / (F * vmyo), p.cm * Acap / (F * vss)
    ionic = (
        INa + INaL + Ito + ICaL + ICaNa + ICaK + IKr + IKs + IK1 + INaCa_i + INaCa_ss + INaK + INab + IKb + IpCa + ICab
    )
    return [
        -(ionic + stimulus),
        p.aCaMK * CaMKb * (CaMKb + CaMKt) - p.bCaMK * CaMKt,
        -(INa + INaL + 3 * INaCa_i + 3 * INaK + INab) * myo + JdiffNa * vss / vmyo,
        -(ICaNa + 3 * INaCa_ss) * ss - JdiffNa,
        -(Ito + IKr + IKs + IK1 + IKb + stimulus - 2 * INaK) * myo + JdiffK * vss / vmyo,
        -ICaK * ss - JdiffK,
        Bcass * (-(ICaL - 2 * INaCa_ss) * ss / 2 + Jrel * vjsr / vss - Jdiff),
        Jup - Jtr * vjsr / vnsr,
        Bcajsr * (Jtr - Jrel),
        Bcai * (-(IpCa + ICab - 2 * INaCa_i) * myo / 2 - Jup * vnsr / vmyo + Jdiff * vss / vmyo),
        (mss - m) / tm,
        (hss - hf) / thf,
        (hss - hs) / ths,
        (hss - j) / tj,
        (hssp - hsp) / thsp,
        (hss - jp) / tjp,
        (mLss - mL) / tm,
        (hLss - hL) / p.thL,
        (hLssp - hLp) / (3 * p.thL),
        (ass - a) / ta,
        (iss - iF) / tiF,
        (iss - iS) / tiS,
        (assp - ap) / ta,
        (iss - iFp) / tiFp,
        (iss - iSp) / tiSp,
        (dss - d) / td,
        (fss - ff) / tff,
        (fss - fs) / tfs,
        (fss - fcaf) / tfcaf,
        (fss - fcas) / tfcas,
        (fss - jca) / 75,
        (fss - ffp) / (2.5 * tff),
        (fss - fcafp) / (2.5 * tfcaf),
        anca * p.k2n - nca * km2n,
        -(k(11) * IC1 - k(21) * IC2) + k(51) * C1 - k(61) * IC1,
        k(11) * IC1 - k(21) * IC2 - (k(3) * IC2 - k(4) * IO) + k(52) * C2 - k(62) * IC2,
        -(k(1) * C1 - k(2) * C2) - (k(51) * C1 - k(61) * IC1),
        k(1) * C1 - k(2) * C2 - (k(31) * C2 - k(41) * O) - (k(52) * C2 - k(62) * IC2),
        k(31) * C2 - k(41) * O - (k(53) * O - k(63) * IO) - (bind * O - p.Ku * Obound),
        k(3) * IC2 - k(4) * IO + k(53) * O - k(63) * IO - (bind * IO - free * IObound),
        bind * IO - free * IObound + untrap * Cbound - p.Kt * IObound,
        bind * O - p.Ku * Obound + untrap * Cbound - p.Kt * Obound,
        -(untrap * Cbound - p.Kt * Obound) - (untrap * Cbound - p.Kt * IObound),
        (xs1ss - xs1) / txs1,
        (xs1ss - xs2) / txs2,
        (xk1ss - xk1) / txk1,
        (Jrel_inf - Jrelnp) / tau_rel,
        (Jrel_infp - Jrelp) / tau_relp,
    ]
