"""Kidney, renin-angiotensin system, aldosterone, vasopressin, and the body's sodium and water."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import jax
import jax.numpy as jnp

from vht.model import LogNormal, Organ, Scalar, Vars, algebraic, boltzmann, constant, param, port, state

_LN2 = math.log(2.0)
_LN10 = math.log(10.0)
_KARAASLAN = "karaaslan2005"
_LEETE = "leete2019"
_RAS = "leete2018"
_WHAMMY = "leete2022"


class Kidney(Organ):
    r"""Kidney with renal nerves, renin-angiotensin system and body fluids (Karaaslan et al. 2005; Leete and Layton 2019).

    Water and sodium of the extracellular fluid rise with what is drunk and eaten and fall with urine:

    .. math::
        V_{ecf}' = \Phi_{win} - \Phi_u, \qquad M_{sod}' = \Phi_{sodin} - \Phi_{usod}

    Glomerular filtration follows from the pressure in the glomerulus, which lies between the afferent resistance (renal nerves,
    tubuloglomerular feedback, myogenic response, angiotensin II) and the efferent one (angiotensin II). Sodium is reabsorbed
    in three segments, "proximal" (up to the macula densa, the loop of Henle included), distal (aldosterone) and collecting duct
    (aldosterone, natriuretic peptide), water along with sodium and by vasopressin. Renin is secreted as sodium at the macula
    densa, renal nerves and bound angiotensin II demand; angiotensins I and II, 1-7, IV and the receptors AT1 and AT2 follow.
    Names are the papers': `Phi` flows, `eta` fractions reabsorbed, `C` concentrations, `h` half-lives, `c` reaction rates.

    Arterial pressure `MAP`, `right_atrial_pressure` and the `autonomic` multiplier are inputs, blood volume is an output. With
    `LongTermPressure` it forms the papers' closed model, an organ named ``pressure`` in a `Body` with the wires
    ``kidney.MAP`` from ``pressure.MAP``, likewise ``right_atrial_pressure`` and ``autonomic``, and ``pressure.blood_volume``
    from ``kidney.blood_volume``. Any other circulation may take its place; one without an autonomic multiplier leaves that
    at its default. Alone, with pressure clamped, the kidney rests at its default inputs only: volume is held by the loop.

    Of the papers' equations one is implicit: pressure in the glomerulus, afferent resistance and sodium at the macula densa
    wait for each other. So `P_gh` is algebraic, the equation :math:`P_{gh} = MAP \, R_{ea} / (R_{aa} + R_{ea})`, with one root,
    since the right side falls as `P_gh` rises. The right atrial reflex on vasopressin,
    :math:`\delta' = 0.2 P_{ra}' - 0.0007 \delta`, is written with the pressure to which it has adapted:
    :math:`\delta = 0.2 (P_{ra} - P_{ra,adapted})`.

    Sexes are parameter sets: ``with_parameters(Kidney(), FEMALE)``, and `FEMALE_REST` its state at rest. The two formulas that
    differ are written as one each: female renal nerve activity is :math:`x^{1/x}` of the male one's `x` (`rsna_damping` 1),
    and AT2 receptors act on arterioles only in females (`AT2R_vascular` 0.1). `HYPERTENSIVE`, `IMPAIRED_MYOGENIC_RESPONSE`
    and `LOW_WATER_INTAKE` are the papers' other settings.

    Treatments, by the papers' doses (normal, high): `ace_inhibition` 0.76, 0.90 of the converting enzyme's activity;
    `furosemide` 0.15, 0.30 of reabsorption before the macula densa with `furosemide_macula_densa` 0.4, 0.5 of the sodium
    sensed there; `nsaid` 1, 2, which flattens tubuloglomerular feedback (away, at 2) and macula densa control of renin.
    Between its doses `nsaid` interpolates. `at1r_block` is the receptor blocker of Ahmed and Layton's model of rats (2020),
    which shares its code with that of humans.

    Sudden changes of pressure are not what the papers' formula of water is for: reabsorption of water falls with that of
    sodium, faster than filtration does. From 103.5 to 94 mmHg at once, urine flow rises from 0.9 to 9 mL/min, while sodium
    excretion falls to 0; below 80 mmHg urine flow is least. Under an ACE inhibitor normotensive twins, and under furosemide
    alone some hypertensive ones, swing over hours to days, with plasma sodium beyond 150 mmol/L: so do the authors' own
    solutions.

    Equations and numbers are those with which the papers' figures of normotensive men (MAP 103.5 mmHg, GFR 0.132 L/min) and
    women (102.3, 0.130) arise: of the companion code of Leete et al. 2022, state of December 2019. Differences: below a
    glomerular pressure of ``P_B + P_go`` filtration stops, where the papers' formula turns negative, and the least urine flow
    is no more than what is filtered; relative AT1 binding, nerve activity and vasopressin are kept above 0.02, 0.05 and
    0.01 mU/L, where the papers' formulas break down; the range of sodium appetite is proportional to sodium intake. Plasma
    potassium cancels in the human equation of aldosterone, and so is left out.

    Verified with `LongTermPressure` against the authors' solutions (steady states of ten kinds of patients, 3e-6; pressure in
    two days of one to three drugs, 4e-4, which is what their solver's tolerance lets expect) and SciPy (2e-6).
    """

    time: ClassVar[str] = "min"
    citation: ClassVar[str] = "leete2019"

    # renal nerves and haemodynamics
    N_rsna: Scalar = param(
        1.0,
        "1",
        "renal sympathetic nerve activity, relative",
        bounds=(0.3, 4.0),
        prior=LogNormal(1.0, 0.05),
        source="karaaslan2005",
    )
    rsna_damping: Scalar = param(
        0.0, "1", "0: nerve activity as in men, 1: damped as in women", bounds=(0.0, 1.0), source=_LEETE
    )
    R_aass: Scalar = param(
        31.67,
        "mmHg*min/L",
        "afferent resistance at rest",
        bounds=(10.0, 100.0),
        prior=LogNormal(31.67, 0.1),
        source=_KARAASLAN,
    )
    R_eass: Scalar = param(
        51.66,
        "mmHg*min/L",
        "efferent resistance at rest",
        bounds=(15.0, 150.0),
        prior=LogNormal(51.66, 0.05),
        source=_KARAASLAN,
    )
    P_B: Scalar = param(18.0, "mmHg", "pressure in Bowman's capsule", bounds=(5.0, 40.0), source=_KARAASLAN)
    P_go: Scalar = param(28.0, "mmHg", "oncotic pressure in the glomerulus", bounds=(15.0, 40.0), source=_KARAASLAN)
    C_gcf: Scalar = param(
        0.00781,
        "L/(min*mmHg)",
        "glomerular filtration coefficient",
        bounds=(0.0005, 0.02),
        prior=LogNormal(0.00781, 0.1),
        source=_KARAASLAN,
    )
    myo_least: Scalar = param(0.9, "1", "least myogenic factor", bounds=(0.5, 1.5), source=_WHAMMY)
    myo_range: Scalar = param(1.0, "1", "range of the myogenic factor", bounds=(0.0, 2.0), source=_WHAMMY)
    P_myo: Scalar = param(62.0, "mmHg", "set point of the myogenic response", bounds=(50.0, 80.0), source=_LEETE)
    AT2R_vascular: Scalar = param(
        0.0, "1", "share of renal vascular tone that AT2 receptors set: 0 in men", bounds=(0.0, 0.5), source=_LEETE
    )

    # sodium along the tubule
    eta_pt: Scalar = param(
        0.8, "1", "fraction reabsorbed before the macula densa", bounds=(0.5, 0.9), source=_KARAASLAN
    )
    eta_dt: Scalar = param(0.5, "1", "fraction reabsorbed in the distal tubule", bounds=(0.2, 0.8), source=_KARAASLAN)
    eta_cd: Scalar = param(
        0.93, "1", "fraction reabsorbed in the collecting duct", bounds=(0.7, 0.99), source=_KARAASLAN
    )
    Phi_tgf: Scalar = param(3.859, "mmol/min", "sodium to the macula densa at rest", bounds=(1.0, 10.0), source=_LEETE)
    Phi_renin: Scalar = param(
        1.731, "mmol/min", "macula densa sodium around which renin changes", bounds=(0.5, 5.0), source=_LEETE
    )

    # water
    A_twreab: Scalar = param(0.0193, "L/min", "basal reabsorption of water", bounds=(0.01, 0.03), source="leete2022")
    Phi_reab_eq: Scalar = param(
        17.1858, "mmol/min", "sodium reabsorbed at rest, all segments", bounds=(5.0, 30.0), source=_LEETE
    )
    u_least: Scalar = param(0.0003, "L/min", "least urine flow", bounds=(0.0, 0.001), source=_LEETE)
    u_least_treated: Scalar = param(
        0.00006, "L/min", "least urine flow under treatment", bounds=(0.0, 0.001), source=_WHAMMY
    )
    win_scale: Scalar = param(0.0078541, "L/min", "scale of thirst", bounds=(0.001, 0.05), source=_LEETE)
    win_bend: Scalar = param(0.65451, "1", "saturation of thirst", bounds=(0.1, 10.0), source=_LEETE)
    blood_fraction: Scalar = param(
        0.325, "1", "blood volume over extracellular volume", bounds=(0.2, 0.45), source=_LEETE
    )

    # hormones of salt and water
    sodium_appetite: Scalar = param(
        0.126,
        "mmol/min",
        "sodium intake while aldosterone is `ALD_eq`",
        bounds=(0.03, 0.4),
        prior=LogNormal(0.126, 0.05),
        source=_LEETE,
    )
    T_adh: Scalar = param(6.0, "min", "time constant of vasopressin", bounds=(1.0, 60.0), source=_KARAASLAN)
    C_sod_adh: Scalar = param(
        141.0, "mmol/L", "plasma sodium above which vasopressin is secreted", bounds=(130.0, 150.0), source=_KARAASLAN
    )
    k_ra: Scalar = param(
        0.0007, "1/min", "rate at which the right atrial reflex adapts", bounds=(1e-5, 0.1), source=_KARAASLAN
    )
    ALD_eq: Scalar = param(85.0, "ng/L", "aldosterone at rest", bounds=(20.0, 400.0), source=_LEETE)
    T_al: Scalar = param(60.0, "min", "time constant of aldosterone", bounds=(10.0, 300.0), source=_KARAASLAN)

    # renin-angiotensin system
    N_rs: Scalar = param(1.0, "pg/(mL*min)", "renin secretion at rest", bounds=(0.1, 10.0), source=_LEETE)
    X_PRCPRA: Scalar = param(
        61.0 / 60.0, "fmol/(min*pg)", "plasma renin activity over concentration", bounds=(0.1, 10.0), source=_RAS
    )
    k_AGT: Scalar = param(
        577.04, "fmol/(mL*min)", "production of angiotensinogen", bounds=(100.0, 3000.0), source=_LEETE
    )
    h_renin: Scalar = param(12.0, "min", "half-life of renin", bounds=(1.0, 120.0), source=_RAS)
    h_AGT: Scalar = param(600.0, "min", "half-life of angiotensinogen", bounds=(60.0, 6000.0), source=_RAS)
    h_AngI: Scalar = param(0.5, "min", "half-life of angiotensin I", bounds=(0.05, 5.0), source=_RAS)
    h_AngII: Scalar = param(0.66, "min", "half-life of angiotensin II", bounds=(0.05, 5.0), source=_RAS)
    h_Ang17: Scalar = param(30.0, "min", "half-life of angiotensin 1-7", bounds=(1.0, 300.0), source=_RAS)
    h_AngIV: Scalar = param(0.5, "min", "half-life of angiotensin IV", bounds=(0.05, 5.0), source=_RAS)
    h_AT1R: Scalar = param(12.0, "min", "half-life of bound AT1 receptors", bounds=(1.0, 120.0), source=_RAS)
    h_AT2R: Scalar = param(12.0, "min", "half-life of bound AT2 receptors", bounds=(1.0, 120.0), source=_RAS)
    c_ACE: Scalar = param(
        0.88492,
        "1/min",
        "activity of the converting enzyme",
        bounds=(0.05, 10.0),
        prior=LogNormal(0.88492, 0.1),
        source=_LEETE,
    )
    c_Chym: Scalar = param(0.09315, "1/min", "activity of chymase", bounds=(0.0, 1.0), source=_LEETE)
    c_NEP: Scalar = param(0.038189, "1/min", "activity of neprilysin", bounds=(0.0, 1.0), source=_LEETE)
    c_ACE2: Scalar = param(0.0078009, "1/min", "activity of converting enzyme 2", bounds=(0.0, 1.0), source=_LEETE)
    c_IIIV: Scalar = param(0.25056, "1/min", "conversion of angiotensin II to IV", bounds=(0.0, 2.0), source=_LEETE)
    c_AT1R: Scalar = param(0.17008, "1/min", "binding to AT1 receptors", bounds=(0.005, 2.0), source=_LEETE)
    c_AT2R: Scalar = param(0.065667, "1/min", "binding to AT2 receptors", bounds=(0.005, 2.0), source=_LEETE)
    AT1R_eq: Scalar = param(13.99, "fmol/mL", "bound AT1 receptors at rest", bounds=(1.0, 100.0), source=_LEETE)
    AT2R_eq: Scalar = param(5.0854, "fmol/mL", "bound AT2 receptors at rest", bounds=(0.5, 50.0), source=_LEETE)

    class State(Vars):
        V_ecf: Scalar = state(14.832551932316797, "L", "extracellular fluid")
        M_sod: Scalar = state(2130.861325156477, "mmol", "sodium in it")
        P_ra_adapted: Scalar = state(
            0.005499071468055281, "mmHg", "right atrial pressure to which its reflex has adapted"
        )
        N_adh: Scalar = state(0.96719247413227, "1", "vasopressin, relative")
        N_al: Scalar = state(0.9481927750426844, "1", "aldosterone, relative")
        AGT: Scalar = state(486107.3556007859, "fmol/mL", "angiotensinogen")
        PRC: Scalar = state(15.213208222728664, "pg/mL", "plasma renin concentration")
        AngI: Scalar = state(6.437635035876176, "fmol/mL", "angiotensin I")
        AngII: Scalar = state(4.07714285589983, "fmol/mL", "angiotensin II")
        AT1R: Scalar = state(12.005077300401242, "fmol/mL", "angiotensin II bound to AT1 receptors")
        AT2R: Scalar = state(4.635097666306728, "fmol/mL", "angiotensin II bound to AT2 receptors")
        Ang17: Scalar = state(12.017024776701899, "fmol/mL", "angiotensin 1-7")
        AngIV: Scalar = state(0.7369062030584956, "fmol/mL", "angiotensin IV")
        P_gh: Scalar = algebraic(62.95808554638506, "mmHg", "pressure in the glomerulus")

    class In(Vars):
        MAP: Scalar = port("mmHg", "mean arterial pressure", default=103.54671800596664)
        right_atrial_pressure: Scalar = port("mmHg", "right atrial pressure", default=0.005499071468055281)
        autonomic: Scalar = port("1", "autonomic multiplier, which secretes vasopressin", default=1.2404370549183608)
        ace_inhibition: Scalar = port("1", "fraction of the converting enzyme's activity blocked", default=0.0)
        at1r_block: Scalar = port("1", "fraction of AT1 receptors blocked", default=0.0)
        furosemide: Scalar = port("1", "fraction of reabsorption before the macula densa blocked", default=0.0)
        furosemide_macula_densa: Scalar = port(
            "1", "fraction of macula densa sodium not sensed, by furosemide", default=0.0
        )
        nsaid: Scalar = port("1", "anti-inflammatory drug: 0 none, 1 normal dose, 2 high dose", default=0.0)
        sodium_in: Scalar = port("mmol/min", "sodium given beyond appetite", kind="flow")
        water_in: Scalar = port("L/min", "water given beyond thirst", kind="flow")
        angiotensin_in: Scalar = port("fmol/(mL*min)", "infusion of angiotensin II", kind="flow")

    class Out(Vars):
        blood_volume: Scalar = port("L", "blood volume")
        extracellular_volume: Scalar = port("L", "extracellular fluid")
        GFR: Scalar = port("L/min", "glomerular filtration rate")
        renal_blood_flow: Scalar = port("L/min", "renal blood flow")
        urine_flow: Scalar = port("L/min", "urine flow", kind="flow")
        water_intake: Scalar = port("L/min", "water drunk by thirst")
        sodium_excretion: Scalar = port("mmol/min", "sodium in urine", kind="flow")
        sodium_intake: Scalar = port("mmol/min", "sodium eaten by appetite")
        sodium_reabsorbed: Scalar = port("mmol/min", "sodium reabsorbed, all segments")
        plasma_sodium: Scalar = port("mmol/L", "plasma sodium")
        rsna: Scalar = port("1", "renal sympathetic nerve activity, relative")
        afferent_resistance: Scalar = port("mmHg*min/L", "afferent resistance")
        efferent_resistance: Scalar = port("mmHg*min/L", "efferent resistance")
        macula_densa_sodium: Scalar = port("mmol/min", "sodium that passes the macula densa")
        renin_secretion: Scalar = port("pg/(mL*min)", "secretion of renin")
        renin_activity: Scalar = port("fmol/(mL*min)", "plasma renin activity: angiotensin I made")
        angiotensin_II: Scalar = port("fmol/mL", "angiotensin II")
        aldosterone: Scalar = port("ng/L", "aldosterone")
        vasopressin: Scalar = port("mU/L", "vasopressin (antidiuretic hormone)")

    def _nerves(self, u: In) -> Scalar:
        """Renal sympathetic nerve activity, by baroreceptors and atrial receptors."""
        mmHg = constant(1.0, "mmHg")
        alpha_map = 0.5 + boltzmann(u.MAP, constant(100.0, "mmHg"), constant(-15.0, "mmHg"))
        alpha_rap = 1.0 - 0.008 * u.right_atrial_pressure / mmHg
        rsna0 = jnp.maximum(self.N_rsna * alpha_map * alpha_rap, 0.05)
        return rsna0 ** (1.0 / (1.0 + self.rsna_damping * (rsna0 - 1.0)))

    def outputs(self, t: Scalar, x: State, u: In) -> Out:
        mmHg, mmol_min = constant(1.0, "mmHg"), constant(1.0, "mmol/min")
        C_sod = x.M_sod / x.V_ecf
        AT1 = self._bound(x)
        nsaid, high = jnp.clip(u.nsaid, 0.0, 1.0), jnp.clip(u.nsaid - 1.0, 0.0, 1.0)

        # what is filtered, and what of it comes to the macula densa
        rsna = self._nerves(u)
        Phi_gfilt = self.C_gcf * jnp.maximum(x.P_gh - self.P_B - self.P_go, 0.0)
        Phi_filsod = Phi_gfilt * C_sod
        gamma_filsod = 0.85 + 0.3 * boltzmann(Phi_filsod, constant(18.0, "mmol/min"), constant(-138.0, "mmol/min"))
        gamma_at = 0.95 + 0.12 * jax.nn.sigmoid(2.3418 * AT1 - 2.6)
        gamma_rsna = 0.72 + 0.56 * boltzmann(rsna, 1.0, 2.18)
        eta_pt = (1.0 - u.furosemide) * self.eta_pt * gamma_filsod * gamma_at * gamma_rsna
        Phi_ptsodreab = Phi_filsod * eta_pt
        Phi_mdsod = Phi_filsod - Phi_ptsodreab

        # resistances of the arterioles
        sensed = (1.0 - u.furosemide_macula_densa) * Phi_mdsod
        above = (sensed - self.Phi_tgf) / (0.9617 * mmol_min)
        tgf = 0.3408 + 3.449 * _saturating(3.88, -above)
        tgf_nsaid = 0.644032 + 1.188073289 * _saturating(2.0285174154, -above)
        Sigma_tgf = tgf + nsaid * (tgf_nsaid + high * (1.0 - tgf_nsaid) - tgf)
        Sigma_myo = self.myo_least + self.myo_range * jax.nn.sigmoid(0.9 * (x.P_gh - self.P_myo) / mmHg - math.log(9.0))
        beta_rsna = 2.0 * jax.nn.sigmoid(3.16 * (rsna - 1.0))
        Psi_AT2 = 1.0 + self.AT2R_vascular * jnp.expm1(1.0 - x.AT2R / self.AT2R_eq)
        Psi_AT1_aa = 0.8 + 0.2092 * AT1 - 0.0092 / AT1
        Psi_AT1_ea = 0.925 + 0.0835 * AT1 - 0.0085 / AT1
        R_aa = self.R_aass * beta_rsna * Sigma_tgf * Sigma_myo * Psi_AT1_aa * Psi_AT2
        R_ea = self.R_eass * Psi_AT1_ea * Psi_AT2

        # distal tubule and collecting duct
        C_al = jnp.maximum(x.N_al * self.ALD_eq / constant(1.0, "ng/L"), 1.0)
        psi_al = 0.17 + 0.94 * jax.nn.sigmoid((1.2 * jnp.log(C_al) - 0.48) / 0.88)
        Phi_dtsodreab = Phi_mdsod * self.eta_dt * psi_al
        Phi_dtsod = Phi_mdsod - Phi_dtsodreab
        C_anp = 7.4052 - 6.554 * jax.nn.sigmoid(3.762 - u.right_atrial_pressure / mmHg)
        lambda_dt = 0.82 + 0.39 * boltzmann(Phi_dtsod, constant(1.7625, "mmol/min"), constant(-0.375, "mmol/min"))
        lambda_anp = 1.1 - 0.1 * C_anp
        lambda_al = 0.76 * C_al**0.06
        Phi_cdsodreab = Phi_dtsod * self.eta_cd * lambda_dt * lambda_anp * lambda_al
        Phi_usod = jnp.maximum(Phi_dtsod - Phi_cdsodreab, 0.0)

        # water
        C_adh = 4.0 * x.N_adh
        pull = jnp.maximum(C_adh, 0.01) ** (3.7 / _LN10)
        mu_adh = 0.3313 + 0.8 * pull / (pull + math.exp(0.6))
        mu_Na = (Phi_ptsodreab + Phi_dtsodreab + Phi_cdsodreab) / self.Phi_reab_eq
        Phi_twreab = (
            self.A_twreab - constant(0.001, "L/min") / mu_adh + (0.8 + 0.08 * jnp.tanh(8.5 * (mu_Na - 1.0))) * Phi_gfilt
        )
        treated = u.ace_inhibition + u.at1r_block + u.furosemide + u.furosemide_macula_densa + u.nsaid
        # the papers' switch is any treatment; a drug that is eliminated never quite reaches 0
        u_least = jnp.where(treated > 0.01, self.u_least_treated, self.u_least)
        Phi_u = jnp.maximum(jnp.minimum(u_least, Phi_gfilt), Phi_gfilt - Phi_twreab)
        thirst = jnp.maximum(C_adh, 0.01) ** 1.607
        Phi_win = jnp.maximum(
            self.win_scale * thirst / (self.win_bend * thirst + 18.22) - constant(0.002, "L/min"), 0.0
        )

        # renin
        below = (self.Phi_renin - sensed) / (0.6056 * mmol_min)
        nu_md = 0.2262 + 28.04 * _saturating(11.56, -below)
        nu_nsaid = 0.2262 + 83.4095 * _saturating(77.6196, -below)
        nu_rsna = 1.822 - 2.056 * _saturating(1.358, rsna - 0.8667)
        nu_AT1 = 10.0**0.0102 * AT1**-0.95
        R_sec = self.N_rs * (nu_md + nsaid * (nu_nsaid - nu_md)) * nu_rsna * nu_AT1

        return self.Out(
            blood_volume=self.blood_fraction * x.V_ecf,
            extracellular_volume=x.V_ecf,
            GFR=Phi_gfilt,
            renal_blood_flow=u.MAP / (R_aa + R_ea),
            urine_flow=Phi_u,
            water_intake=Phi_win,
            sodium_excretion=Phi_usod,
            sodium_intake=self._appetite(C_al),
            sodium_reabsorbed=Phi_ptsodreab + Phi_dtsodreab + Phi_cdsodreab,
            plasma_sodium=C_sod,
            rsna=rsna,
            afferent_resistance=R_aa,
            efferent_resistance=R_ea,
            macula_densa_sodium=Phi_mdsod,
            renin_secretion=R_sec,
            renin_activity=self.X_PRCPRA * x.PRC,
            angiotensin_II=x.AngII,
            aldosterone=C_al * constant(1.0, "ng/L"),
            vasopressin=C_adh * constant(1.0, "mU/L"),
        )

    def _bound(self, x: State) -> Scalar:
        """Binding to AT1 receptors relative to rest."""
        return jnp.maximum(x.AT1R / self.AT1R_eq, 0.02)

    def _appetite(self, C_al: Scalar) -> Scalar:
        """Sodium eaten: a rising, saturating function of aldosterone, from 0.1 over 0.126 to 0.14 mmol/min."""
        least, most = 0.1 / 0.126, 0.14 / 0.126
        now, rest = C_al**0.765, (self.ALD_eq / constant(1.0, "ng/L")) ** 0.765
        b = ((most - 1.0) * rest - (most - least)) / (1.0 - least)
        return self.sodium_appetite * (most - (most - 1.0) * (b + rest) / (b + now))

    def rates(self, t: Scalar, x: State, u: In) -> State:
        mmHg = constant(1.0, "mmHg")
        y = self.outputs(t, x, u)

        # vasopressin and aldosterone
        delta_ra = 0.2 * (u.right_atrial_pressure - x.P_ra_adapted) / mmHg
        osmotic = jnp.maximum(y.plasma_sodium - self.C_sod_adh, 0.0) / constant(1.0, "mmol/L")
        N_adhs = (osmotic + jnp.maximum(u.autonomic - 1.0, 0.0) - delta_ra) / 3.0
        xi_ksod = jnp.maximum(7.0 * constant(144.0, "mmol/L") / y.plasma_sodium - 6.0, 0.0)
        xi_map = jnp.exp(0.0425 * jnp.maximum(constant(100.0, "mmHg") - u.MAP, 0.0) / mmHg)
        xi_at = 0.47 + 2.4 * jax.nn.sigmoid((1.5 * 1.301 * self._bound(x) - 2.82) / 0.8)

        converted = (1.0 - u.ace_inhibition) * self.c_ACE + self.c_Chym
        bound = (1.0 - u.at1r_block) * self.c_AT1R
        return self.State(
            V_ecf=y.water_intake + u.water_in - y.urine_flow,
            M_sod=y.sodium_intake + u.sodium_in - y.sodium_excretion,
            P_ra_adapted=self.k_ra * (u.right_atrial_pressure - x.P_ra_adapted),
            N_adh=(N_adhs - x.N_adh) / self.T_adh,
            N_al=(xi_ksod * xi_map * xi_at - x.N_al) / self.T_al,
            AGT=self.k_AGT - y.renin_activity - _LN2 / self.h_AGT * x.AGT,
            PRC=y.renin_secretion - _LN2 / self.h_renin * x.PRC,
            AngI=y.renin_activity - (converted + self.c_NEP + _LN2 / self.h_AngI) * x.AngI,
            AngII=(
                u.angiotensin_in
                + converted * x.AngI
                - (self.c_ACE2 + self.c_IIIV + bound + self.c_AT2R + _LN2 / self.h_AngII) * x.AngII
            ),
            AT1R=bound * x.AngII - _LN2 / self.h_AT1R * x.AT1R,
            AT2R=self.c_AT2R * x.AngII - _LN2 / self.h_AT2R * x.AT2R,
            Ang17=self.c_NEP * x.AngI + self.c_ACE2 * x.AngII - _LN2 / self.h_Ang17 * x.Ang17,
            AngIV=self.c_IIIV * x.AngII - _LN2 / self.h_AngIV * x.AngIV,
            P_gh=x.P_gh - u.MAP * y.efferent_resistance / (y.afferent_resistance + y.efferent_resistance),
        )


def _saturating(c: float, z: Scalar) -> Scalar:
    """``1 / (c + exp(z))``, which never overflows."""
    return jax.nn.sigmoid(math.log(c) - z) / c


FEMALE: Mapping[str, float] = MappingProxyType(
    {
        "rsna_damping": 1.0,
        "AT2R_vascular": 0.1,
        "Phi_renin": 1.637,
        "A_twreab": 0.0199,
        "ALD_eq": 69.1775,
        "k_AGT": 610.39,
        "c_ACE": 1.4079,
        "c_Chym": 0.1482,
        "c_NEP": 0.060759,
        "c_ACE2": 0.0037603,
        "c_IIIV": 0.038644,
        "c_AT1R": 0.027089,
        "c_AT2R": 0.038699,
        "AT1R_eq": 3.78,
    }
)
"""What differs in women (Leete and Layton 2019; Leete et al. 2022)."""

FEMALE_REST: Mapping[str, float] = MappingProxyType(
    {
        "V_ecf": 14.80594767940946,
        "M_sod": 2127.8962454152806,
        "P_ra_adapted": 0.003318332480067546,
        "N_adh": 0.9876024915359876,
        "N_al": 0.9497400656244105,
        "AGT": 514908.5161698579,
        "PRC": 15.289530771406616,
        "AngI": 5.1760114836316005,
        "AngII": 6.9529394715178965,
        "AT1R": 3.260747776975071,
        "AT2R": 4.658262697816761,
        "Ang17": 14.742947655945727,
        "AngIV": 0.1938184273650815,
        "P_gh": 62.64718108918941,
    }
)
"""State at rest with the values of `FEMALE`, joined with `LongTermPressure`."""

HYPERTENSIVE: Mapping[str, float] = MappingProxyType({"N_rsna": 2.5, "A_twreab": 0.0182})
"""Hypertension by overactive renal nerves, men; in women `A_twreab` is 0.0181 L/min (Leete et al. 2022)."""

IMPAIRED_MYOGENIC_RESPONSE: Mapping[str, float] = MappingProxyType({"myo_least": 1.2, "myo_range": 0.3})
"""A risk factor of kidney injury (Leete et al. 2022)."""

LOW_WATER_INTAKE: Mapping[str, float] = MappingProxyType({"win_scale": 0.0177, "win_bend": 3.9271})
"""A risk factor of kidney injury (Leete et al. 2022)."""
