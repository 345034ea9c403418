"""The equations of Ursino 1998 in his own variables, and, with his pure delays, the closed loop."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

# Ursino 1998: vascular system; heart
P = {"Csa": 0.28, "Csp": 2.05, "Cep": 1.67, "Csv": 61.11, "Cev": 50.0, "Cpa": 0.76, "Cpp": 5.80, "Cpv": 25.37}
P |= {"Vusp": 274.4, "Vuep": 336.6, "Vupp": 123.0, "Vupv": 120.0, "Vt": 5300.0, "Lsa": 0.22e-3, "Lpa": 0.18e-3}
P |= {"Rsa": 0.06, "Rsv": 0.038, "Rev": 0.016, "Rpa": 0.023, "Rpp": 0.0894, "Rpv": 0.0056}
P |= {"Cla": 19.23, "Vula": 25.0, "Rla": 2.5e-3, "P0lv": 1.5, "kElv": 0.014, "Vulv": 16.77, "kRlv": 3.75e-4}
P |= {"Cra": 31.25, "Vura": 25.0, "Rra": 2.5e-3, "P0rv": 1.5, "kErv": 0.011, "Vurv": 40.8, "kRrv": 1.4e-3}
P |= {"ksys": 0.075, "Tsys0": 0.5}


def paper_rates(t, y, u, p=P):
    """The paper's equations: pressures are states, and blood that is nowhere else is in the splanchnic veins.

    Args:
        t: time, s.
        y: Psa, Fsa, Psp, Pev, Pra, Vrv, Ppa, Fpa, Ppp, Ppv, Pla, Vlv, xi, Vt; pressures of the thorax transmural.
        u: inputs at a time: T, Emaxlv, Emaxrv, Rsp, Rep, Vusv, Vuev, its rate of change, inflow, thoracic pressure.
        p: parameters.

    Returns:
        The rates, and the splanchnic venous pressure.
    """
    Psa, Fsa, Psp, Pev, Pra, Vrv, Ppa, Fpa, Ppp, Ppv, Pla, Vlv, xi, Vt = y
    T, Emaxlv, Emaxrv, Rsp, Rep, Vusv, Vuev, dVuev, inflow, thorax = u(t)
    Vu = p["Vusp"] + p["Vuep"] + Vusv + Vuev + p["Vura"] + p["Vupp"] + p["Vupv"] + p["Vula"]
    stressed = p["Csa"] * Psa + (p["Csp"] + p["Cep"]) * Psp + p["Cev"] * Pev + p["Cra"] * Pra + Vrv + p["Cpa"] * Ppa
    stressed += p["Cpp"] * Ppp + p["Cpv"] * Ppv + p["Cla"] * Pla + Vlv
    Psv = (Vt - stressed - Vu) / p["Csv"]

    Tsys = p["Tsys0"] - p["ksys"] / T
    u_ = xi % 1.0
    phi = math.sin(math.pi * T / Tsys * u_) ** 2 if u_ <= Tsys / T else 0.0

    def ventricle(V, Emax, Vu, P0, kE, kR, artery, atrium, R):
        Pmax = phi * Emax * (V - Vu) + (1.0 - phi) * P0 * (math.exp(kE * V) - 1.0)
        Fo = 0.0 if Pmax <= artery else (Pmax - artery) / (kR * Pmax)
        inside = Pmax - kR * Pmax * Fo
        return Fo, 0.0 if atrium <= inside else (atrium - inside) / R

    # seen from the thorax, systemic pressures are lower by the thoracic pressure
    Fol, Fil = ventricle(Vlv, Emaxlv, p["Vulv"], p["P0lv"], p["kElv"], p["kRlv"], Psa - thorax, Pla, p["Rla"])
    For, Fir = ventricle(Vrv, Emaxrv, p["Vurv"], p["P0rv"], p["kErv"], p["kRrv"], Ppa, Pra, p["Rra"])
    center = Pra + thorax
    return [
        (Fol - Fsa) / p["Csa"],
        (Psa - Psp - p["Rsa"] * Fsa) / p["Lsa"],
        (Fsa - (Psp - Psv) / Rsp - (Psp - Pev) / Rep) / (p["Csp"] + p["Cep"]),
        ((Psp - Pev) / Rep - (Pev - center) / p["Rev"] - dVuev) / p["Cev"],
        ((Psv - center) / p["Rsv"] + (Pev - center) / p["Rev"] - Fir) / p["Cra"],
        Fir - For,
        (For - Fpa) / p["Cpa"],
        (Ppa - Ppp - p["Rpa"] * Fpa) / p["Lpa"],
        (Fpa - (Ppp - Ppv) / p["Rpp"]) / p["Cpp"],
        ((Ppp - Ppv) / p["Rpp"] - (Ppv - Pla) / p["Rpv"]) / p["Cpv"],
        ((Ppv - Pla) / p["Rpv"] - Fil) / p["Cla"],
        Fil - Fol,
        1.0 / T,
        inflow,
    ], Psv


# Ursino 1998: carotid baroreflex. By effector: gain, value without sympathetic drive, time constant, delay
B = {"pn": 92.0, "ka": 11.758, "fmin": 2.52, "fmax": 47.78, "tauz": 6.37, "taup": 2.076}
B |= {
    "fesinf": 2.10,
    "fes0": 16.11,
    "fesmin": 2.66,
    "kes": 0.0675,
    "fev0": 3.2,
    "fevinf": 6.3,
    "fcs0": 25.0,
    "kev": 7.06,
}
EFFECTORS = {
    "E_lv": (0.475, 2.392, 8.0, 2.0),
    "E_rv": (0.282, 1.412, 8.0, 2.0),
    "R_sp": (0.695, 2.49, 6.0, 2.0),
    "R_ep": (0.53, 0.78, 6.0, 2.0),
    "V_usv": (-265.4, 1435.4, 20.0, 5.0),
    "V_uev": (-132.5, 1537.0, 20.0, 5.0),
    "T_s": (-0.13, 0.0, 2.0, 2.0),
}
VAGUS = (0.09, 0.58, 1.5, 0.2)


def afferent(p, b=B):
    """Frequency of the baroreceptors."""
    e = math.exp((p - b["pn"]) / b["ka"])
    return (b["fmin"] + b["fmax"] * e) / (1.0 + e)


def efferent(fcs, b=B):
    """Sympathetic drive (the logarithm) and vagal frequency."""
    fes = b["fesinf"] + (b["fes0"] - b["fesinf"]) * math.exp(-b["kes"] * fcs)
    e = math.exp((fcs - b["fcs0"]) / b["kev"])
    return math.log(fes - b["fesmin"] + 1.0) if fes >= b["fesmin"] else 0.0, (b["fev0"] + b["fevinf"] * e) / (1.0 + e)


class Reflex:
    """The reflex with pure delays, in steps of `dt`, from a rest with given activities.

    Args:
        dt: step, s.
        p: pressure at the beginning.
        lagged: pressure as the time constant of the baroreceptors lets it through, at the beginning.
        drive: sympathetic drive so far.
        vagal: vagal frequency so far.
    """

    def __init__(self, dt, p, lagged, drive, vagal):
        self.dt, self.p, self.filtered = dt, p, lagged + B["tauz"] / B["taup"] * (p - lagged)
        self.s = deque([drive] * round(5.0 / dt), maxlen=round(5.0 / dt))
        self.v = deque([vagal] * round(0.2 / dt), maxlen=round(0.2 / dt))
        self.change = {name: G * drive for name, (G, _, _, _) in EFFECTORS.items()}
        self.vagus = VAGUS[0] * vagal

    def values(self):
        """All effectors now; T instead of its two parts."""
        now = {name: EFFECTORS[name][1] + change for name, change in self.change.items()}
        return now | {"T": VAGUS[1] + now.pop("T_s") + self.vagus}

    def step(self, p):
        """Go on by one step, to a pressure."""
        slope, self.p = (p - self.p) / self.dt, p
        self.filtered += self.dt / B["taup"] * (p + B["tauz"] * slope - self.filtered)
        drive, vagal = efferent(afferent(self.filtered))
        for name, (G, _, tau, delay) in EFFECTORS.items():
            late = self.s[-round(delay / self.dt)]
            self.change[name] += self.dt / tau * (G * late - self.change[name])
        self.vagus += self.dt / VAGUS[2] * (VAGUS[0] * self.v[0] - self.vagus)
        self.s.append(drive)
        self.v.append(vagal)


def closed_loop(y, end, inflow, lagged, drive, vagal, dt):
    """Heart and reflex with pure delays, by Heun's method, from a state of `paper_rates`.

    Returns:
        Times, arterial pressure and heart rate.
    """
    reflex, rows, y = Reflex(dt, y[0], lagged, drive, vagal), [], np.array(y, float)
    old = reflex.values()["V_uev"]
    for i in range(round(end / dt)):
        now = reflex.values()
        slope, old = (now["V_uev"] - old) / dt, now["V_uev"]
        names = ("T", "E_lv", "E_rv", "R_sp", "R_ep", "V_usv", "V_uev")
        given = (*(now[name] for name in names), slope, inflow(i * dt), 0.0)
        k = np.array(paper_rates(0.0, y.tolist(), lambda _, given=given: given)[0])
        again = np.array(paper_rates(0.0, (y + dt * k).tolist(), lambda _, given=given: given)[0])
        rows.append((i * dt, y[0], 60.0 / now["T"]))
        y = y + 0.5 * dt * (k + again)
        reflex.step(y[0])
    return np.array(rows).T
