"""Heart cells against the same equations written from their CellML encodings, solved by CVODE."""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cell_equations as equations
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sksundae.cvode import CVODE
from vht_kernels import lanes

import vht
from vht.model import Organ, conserved, inputs, parameters, states, with_parameters
from vht.organs.noble import Noble1962
from vht.organs.ohara_rudy import OHaraRudyCiPA
from vht.organs.ten_tusscher import INITIAL_ENDO, INITIAL_M, TenTusscher2006
from vht.solve.gates import gates_of
from vht.solve.system import system_of

Named = Mapping[str, Any]

# hERG and dofetilide (Li et al. 2017, Table 2), here far above its therapeutic 2 nmol/L, so that it binds within a beat
DOFETILIDE = {"Kmax": 1e8, "Ku": 1.79e-5, "halfmax": 5.483e8, "n": 0.9999, "Vhalf": -1.147, "D": 500.0}


@dataclasses.dataclass(frozen=True, eq=False)
class Twin:
    """A model with its parameters, initial values other than the model's, and a choice that the equations know."""

    model: Organ
    initial: Mapping[str, float] = dataclasses.field(default_factory=dict)
    kind: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, eq=False)
class Cell:
    """A model, its name in the catalogue, its equations and their states, twins, a stimulus, voltages where a formula divides
    zero by zero, and the state of cytoplasmic calcium, if it has one."""

    cls: Any
    catalogued: str
    equations: Callable[..., list[float]]
    names: tuple[str, ...]
    twins: Sequence[Twin]
    amount: float
    duration: float
    singular: tuple[float, ...]
    calcium: str | None = None

    @functools.cached_property
    def _kernel(self) -> Callable[..., Any]:
        # one for rates and their derivatives: each takes a second or two to compile
        return lanes(lambda p, y, stimulus, dy: jax.jvp(lambda y: self._rates(p, y, stimulus), (y,), (dy,)))

    def rates(self, p: Named, y: Named, stimulus: np.ndarray) -> dict[str, np.ndarray]:
        """Rates at columns of parameters, states and stimulus."""
        return self._kernel(p, y, stimulus, {name: np.zeros_like(column) for name, column in y.items()})[0]

    def slopes(self, p: Named, y: Named, dy: Named) -> dict[str, np.ndarray]:
        """Derivatives of the rates in a direction of the states."""
        return self._kernel(p, y, np.zeros_like(y[self.names[0]]), dy)[1]

    def _rates(self, p: Named, y: Named, stimulus: Any) -> dict[str, Any]:
        found = with_parameters(self.cls(), p).rates(0.0, self.cls.State(**y), self.driven(stimulus))
        return {name: getattr(found, name) for name in self.names}

    def driven(self, stimulus: Any) -> Any:
        """The inputs: a stimulus and nothing else."""
        return self.cls.In(**{name: stimulus if name == "stimulus" else 0.0 for name in inputs(self.cls)})

    def expected(self, p: Named, y: Named, stimulus: np.ndarray, **kind: Any) -> dict[str, np.ndarray]:
        """The same by the equations, one row after the other."""
        rows = [
            self.equations(
                [float(y[name][i]) for name in self.names],
                types.SimpleNamespace(**{name: float(column[i]) for name, column in p.items()}),
                float(stimulus[i]),
                **kind,
            )
            for i in range(len(stimulus))
        ]
        return dict(zip(self.names, np.array(rows).T, strict=True))

    def start(self, twin: Twin) -> np.ndarray:
        own = {name: variable.default or 0.0 for name, variable in states(self.cls).items()}
        return np.array([{**own, **twin.initial}[name] for name in self.names])

    def random_states(self, rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
        """Any voltage, any gates, concentrations within a half of where the model starts."""
        found = {}
        for name, variable in states(self.cls).items():
            gate = variable.unit == "1"
            found[name] = rng.uniform(size=n) if gate else (variable.default or 0.0) * rng.uniform(0.5, 1.5, n)
        found[self.names[0]] = rng.uniform(-120.0, 80.0, n)
        return found

    @functools.cached_property
    def beat(self) -> tuple[np.ndarray, vht.Trajectory]:
        """All twins, stimulated at time 0."""
        times = np.linspace(0.0, 600.0, 1201)
        columns = {name: [getattr(twin.model, name) for twin in self.twins] for name in parameters(self.cls)}
        initial = np.array([self.start(twin) for twin in self.twins]).T
        doses = vht.Doses(time=[0.0], amount=[self.amount], duration=[self.duration])
        found = vht.simulate(
            self.cls(),
            times,
            twins={name: column for name, column in columns.items() if len(set(column)) > 1},
            initial=dict(zip(self.names, initial, strict=True)),
            schedule=vht.Schedule(doses={"stimulus": doses}),
            observe=self.names,
            method=vht.Tsit5(rtol=1e-7, atol=1e-9, max_steps=1_000_000),
        )
        return times, found

    def by_cvode(self, times: np.ndarray, twin: Twin) -> np.ndarray:
        """States of one twin at `times`, the first of which is 0."""
        p, y = types.SimpleNamespace(**columns_of(twin.model)), self.start(twin)
        scale = np.maximum(np.abs(y), 1e-4)
        found = [y[None]]

        def system(stimulus):
            def rates(t, y, yp):
                yp[:] = self.equations(y.tolist(), p, stimulus, **twin.kind)

            return rates

        on = self.amount / self.duration
        for begin, end, stimulus in ((0.0, self.duration, on), (self.duration, times[-1], 0.0)):
            inside = times[(times > begin) & (times < end)]
            solver = CVODE(system(stimulus), rtol=1e-8, atol=1e-8 * scale, max_num_steps=100_000)
            solved = solver.solve([begin, *inside, end], y)
            assert solved.success, solved.message
            found.append(solved.y[np.isin(solved.t, [t for t in (*inside, end) if t in times])])
            y = solved.y[-1]
        return np.concatenate(found)


def columns_of(model: Organ, n: int | None = None, dtype: Any = np.float64) -> dict[str, Any]:
    """A model's parameters: numbers, or columns of length `n`."""
    values = {name: getattr(model, name) for name in parameters(model)}
    return values if n is None else {name: np.full(n, value, dtype) for name, value in values.items()}


def apd90(times: np.ndarray, v: np.ndarray) -> float:
    """Time from the steepest rise until 90 % of the amplitude are lost."""
    level = v[0] + 0.1 * (v.max() - v[0])
    last = int(np.flatnonzero((v[:-1] > level) & (v[1:] <= level))[0])
    crossing = times[last] + (v[last] - level) / (v[last] - v[last + 1]) * (times[last + 1] - times[last])
    return crossing - times[int(np.argmax(np.diff(v)))]


NOBLE = Cell(
    cls=Noble1962,
    catalogued="noble",
    equations=equations.noble,
    names=equations.NOBLE,
    twins=[Twin(Noble1962()), Twin(Noble1962(g_K2=0.9, Cm=10.0))],
    amount=0.0,
    duration=1.0,
    singular=(-48.0, -8.0, -50.0),
)
TEN_TUSSCHER = Cell(
    cls=TenTusscher2006,
    catalogued="ten_tusscher",
    equations=equations.ten_tusscher,
    names=equations.TEN_TUSSCHER,
    twins=[
        Twin(TenTusscher2006.epi()),
        Twin(TenTusscher2006.endo(), INITIAL_ENDO, {"endo": True}),
        Twin(TenTusscher2006.M(), INITIAL_M),
    ],
    amount=-52.0,
    duration=1.0,
    singular=(15.0,),
    calcium="Ca_i",
)
OHARA_RUDY = Cell(
    cls=OHaraRudyCiPA,
    catalogued="ohara_rudy",
    equations=equations.ohara_rudy,
    names=equations.OHARA_RUDY,
    twins=[
        Twin(OHaraRudyCiPA.endo()),
        Twin(OHaraRudyCiPA(**DOFETILIDE)),
        Twin(OHaraRudyCiPA.epi(), {}, {"celltype": 1}),
    ],
    amount=-40.0,
    duration=0.5,
    singular=(0.0,),
    calcium="cai",
)
CELLS = pytest.mark.parametrize("cell", [NOBLE, TEN_TUSSCHER, OHARA_RUDY], ids=["noble", "ten_tusscher", "ohara_rudy"])

# ------------------------------------------------------------------------------------------------------ rates


@CELLS
def test_rates_agree_with_the_equations(cell, rng):
    """At random states, with every parameter changed by up to 20 %."""
    n = 50
    p = {name: value * rng.uniform(0.8, 1.2, n) for name, value in columns_of(cell.cls()).items()}
    fixed = columns_of(cell.cls(), n)
    if cell is TEN_TUSSCHER:  # the encoding has one set of these for each layer of the wall
        p |= {name: column for name, column in fixed.items() if name.startswith(("s_", "tau_s"))}
    if cell is OHARA_RUDY:  # likewise; and in currents of ions that obey a flux equation it takes the capacitance for 1
        p |= {name: fixed[name] for name in ("delta_epi", "upScale", "relScale", "cm")}
        p |= {
            "D": rng.uniform(0.0, 20.0, n),
            "Kmax": np.full(n, 50.0),
            "Ku": np.full(n, 0.01),
            "halfmax": np.full(n, 12.0),
        }
        p |= {name: rng.uniform(1.0, 30.0, n) for name in p if name.endswith("_IC50")}
    y, stimulus = cell.random_states(rng, n), rng.normal(size=n) * 20.0
    found, expected = cell.rates(p, y, stimulus), cell.expected(p, y, stimulus)
    for name in cell.names:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-11, err_msg=name)


# factors of the other layers of the wall in the CellML encodings
_EPI = {"GNaL": 0.6, "Gto": 4, "PCa": 1.2, "GKr": 1.3, "GKs": 1.4, "GK1": 1.2, "Gncx": 1.1, "Pnak": 0.9, "GKb": 0.6}
_MID = {"Gto": 4, "PCa": 2.5, "GKr": 0.8, "GK1": 1.3, "Gncx": 1.4, "Pnak": 0.7}


@pytest.mark.parametrize(
    ("cell", "model", "factors", "kind"),
    [
        (TEN_TUSSCHER, TenTusscher2006.endo(), {"g_to": 0.073 / 0.294}, {"endo": True}),
        (TEN_TUSSCHER, TenTusscher2006.M(), {"g_Ks": 0.098 / 0.392}, {}),
        (OHARA_RUDY, OHaraRudyCiPA.epi(), {**_EPI, "cmdnmax": 1.3}, {"celltype": 1}),
        (OHARA_RUDY, OHaraRudyCiPA.M(), _MID, {"celltype": 2}),
    ],
    ids=["ten_tusscher-endo", "ten_tusscher-M", "ohara_rudy-epi", "ohara_rudy-M"],
)
def test_cells_of_other_layers_agree_with_the_equations(cell, model, factors, kind, rng):
    n = 20
    other = {name: column * factors.get(name, 1.0) for name, column in columns_of(cell.cls(), n).items()}
    y, rest = cell.random_states(rng, n), np.zeros(n)
    found, expected = cell.rates(columns_of(model, n), y, rest), cell.expected(other, y, rest, **kind)
    for name in cell.names:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-11, err_msg=name)


@CELLS
def test_rates_and_slopes_where_formulas_divide_zero_by_zero(cell, rng):
    """Against the equations a little to both sides, by central formulas of fourth order."""
    V, n, step = cell.names[0], len(cell.singular), 0.02
    p, y, rest = columns_of(cell.cls(), n), cell.random_states(rng, n), np.zeros(n)
    y[V] = np.array(cell.singular)
    one, two, minus_one, minus_two = (cell.expected(p, {**y, V: y[V] + k * step}, rest) for k in (1, 2, -1, -2))
    direction = {name: np.full(n, float(name == V)) for name in cell.names}
    found, slopes = cell.rates(p, y, rest), cell.slopes(p, y, direction)
    for name in cell.names:
        value = (4.0 * (one[name] + minus_one[name]) - two[name] - minus_two[name]) / 6.0
        slope = (8.0 * (one[name] - minus_one[name]) - two[name] + minus_two[name]) / (12.0 * step)
        np.testing.assert_allclose(found[name], value, rtol=1e-7, atol=1e-13, err_msg=name)
        np.testing.assert_allclose(slopes[name], slope, rtol=1e-6, atol=1e-10, err_msg=name)


@CELLS
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_absurd_voltages_overflow_nothing(cell, dtype):
    """A solver's trial step may go there, and must come back: rates are finite, and so is their Jacobian."""
    V = np.array([-1e5, -1000.0, -250.0, -90.0, 40.0, 250.0, 1000.0, 1e5], dtype)
    n = len(V)
    p = columns_of(cell.cls(), n, dtype)
    y = {name: np.full(n, variable.default, dtype) for name, variable in states(cell.cls).items()} | {cell.names[0]: V}
    # one direction that all columns of the Jacobian go into: what is not a number in one of them is none in the sum
    direction = {name: np.ones(n, dtype) for name in cell.names}
    for name, column in (*cell.rates(p, y, np.zeros(n, dtype)).items(), *cell.slopes(p, y, direction).items()):
        assert column.dtype == dtype and np.isfinite(column).all(), name


@CELLS
def test_gates_are_recognised(cell, rng):
    system = system_of(cell.cls())
    p, y = columns_of(cell.cls(), 1), cell.random_states(rng, 1)
    arguments: Any = (
        jnp.zeros(()),
        {name: jnp.asarray(column[0]) for name, column in p.items()},
        tuple(jnp.asarray(y[name][0]) for name in system.states),
        {},
    )
    found = gates_of(system.rates, *arguments)(*arguments)
    others = {
        NOBLE: {"V"},
        TEN_TUSSCHER: {"V", "K_i", "Na_i", "Ca_i", "Ca_SR", "Ca_ss"},
        OHARA_RUDY: {
            *("v", "CaMKt", "nai", "nass", "ki", "kss", "cai", "cass", "cansr", "cajsr"),
            *("C1", "C2", "O", "IC1", "IC2", "IO", "Obound", "IObound", "Cbound"),
        },
    }
    assert {system.states[i] for i in found} == set(cell.names) - others[cell]
    expected = cell.expected(p, y, np.zeros(1))
    for i, (steady, tau) in found.items():
        name = system.states[i]
        np.testing.assert_allclose((steady - y[name]) / tau, expected[name], rtol=1e-10)


@CELLS
def test_the_total_current_charges_the_membrane(cell, rng):
    p, y = columns_of(cell.cls(), 1), cell.random_states(rng, 1)
    x = cell.cls.State(**{name: column[0] for name, column in y.items()})
    shown = cell.cls().outputs(0.0, x, cell.driven(-3.0))
    total = shown.I_ion if cell is OHARA_RUDY else shown.i_ion
    capacitance = cell.cls().Cm if cell is NOBLE else 1.0
    expected = cell.expected(p, y, np.array([-3.0]))[cell.names[0]][0]
    np.testing.assert_allclose(-(total - 3.0) / capacitance, expected, rtol=1e-12)
    assert shown.potential == y[cell.names[0]][0]


# ------------------------------------------------------------------------------------------------------ beats


def transient(times: np.ndarray, calcium: np.ndarray) -> np.ndarray:
    """Peak of the calcium transient, and the time from it to half of its amplitude."""
    top, level = int(calcium.argmax()), 0.5 * (calcium[0] + calcium.max())
    after = top + int(np.flatnonzero(calcium[top:] <= level)[0])
    share = (calcium[after - 1] - level) / (calcium[after - 1] - calcium[after])
    return np.array([calcium.max(), times[after - 1] + share * (times[after] - times[after - 1]) - times[top]])


@CELLS
def test_a_beat_agrees_with_cvode(cell, verified):
    times, found = cell.beat
    assert bool(found.ok.all())
    off, late, calcium = [], [], []
    for i, twin in enumerate(cell.twins):
        expected = cell.by_cvode(times, twin)
        v = np.asarray(found.values[cell.names[0]])[i]
        assert np.ptp(expected[:, 0]) > 90.0
        off.append(np.sqrt(np.mean((v - expected[:, 0]) ** 2)))
        late.append(abs(apd90(times, v) - apd90(times, expected[:, 0])))
        for name, column in zip(cell.names, expected.T, strict=True):
            assert np.abs(np.asarray(found.values[name])[i] - column).max() <= 1e-4 * np.abs(column).max(), name
        if cell.calcium is not None:
            mine, theirs = np.asarray(found.values[cell.calcium])[i], expected[:, cell.names.index(cell.calcium)]
            calcium.append(np.abs(transient(times, mine) / transient(times, theirs) - 1.0).max())
    # what is demanded of a cell, and what two solvers at these tolerances must reach
    assert max(off) < 1e-3 and max(late) < 0.01
    reference = "the CellML encoding's equations written again, solved by CVODE"
    verified(cell.catalogued, "action potential, root mean square", reference, reached=max(off), within=0.1, unit="mV")
    what = "duration of the action potential, APD90"
    verified(cell.catalogued, what, reference, reached=max(late), within=0.5, unit="ms")
    if calcium:
        what = "calcium transient, peak and half-decay"
        verified(cell.catalogued, what, reference, reached=max(calcium), within=1e-3)


def test_layers_and_drugs_change_the_action_potential_as_published():
    """Ten Tusscher: M cells repolarise last. CiPA: dofetilide, which blocks hERG, delays it, and epicardial cells are first."""
    epi, endo, M = (apd90(TEN_TUSSCHER.beat[0], v) for v in np.asarray(TEN_TUSSCHER.beat[1].values["V"]))
    assert 1.2 * max(epi, endo) < M
    control, blocked, epicardial = (apd90(OHARA_RUDY.beat[0], v) for v in np.asarray(OHARA_RUDY.beat[1].values["v"]))
    assert epicardial < control < blocked - 20.0


def test_herg_stays_a_whole():
    """Free, bound and trapped channels add up to all of them."""
    names = ("C1", "C2", "O", "IC1", "IC2", "IO", "Obound", "IObound", "Cbound")
    herg = np.array([OHARA_RUDY.beat[1].values[name] for name in names])
    whole = herg.sum(axis=0)
    np.testing.assert_allclose(whole, np.broadcast_to(whole[:, :1], whole.shape), rtol=1e-8)
    bound = herg[6:, :, -1].sum(axis=0)
    assert bound[0] == bound[2] == 0.0 < bound[1]


CHARGED = pytest.mark.parametrize("cell", [TEN_TUSSCHER, OHARA_RUDY], ids=["ten_tusscher", "ohara_rudy"])


@CHARGED
def test_charge_is_conserved_at_any_state(cell, rng, verified):
    """Whatever the state, the parameters and the stimulus, no conserved quantity has a rate: its terms cancel to rounding."""
    n = 64
    p = {name: value * rng.uniform(0.8, 1.2, n) for name, value in columns_of(cell.cls()).items()}
    y, stimulus = cell.random_states(rng, n), rng.normal(size=n) * 20.0

    def terms(p, y, dy):
        """What each state's rate adds to the rate of each quantity."""

        def amounts(y):
            found = with_parameters(cell.cls(), p).conserved(cell.cls.State(**y))
            return {name: getattr(found, name) for name in conserved(cell.cls)}

        slopes = jax.jacrev(amounts)(y)
        return {name: jnp.stack([slopes[name][k] * dy[k] for k in cell.names]) for name in slopes}

    found = jax.vmap(terms)(p, y, cell.rates(p, y, stimulus))
    off = {name: np.max(np.abs(rows.sum(axis=1)) / np.abs(rows).sum(axis=1)) for name, rows in found.items()}
    assert set(off) == ({"charge"} if cell is TEN_TUSSCHER else {"charge", "hERG"})
    what = "conservation of charge, rate as a share of its terms"
    verified(cell.catalogued, what, "0, at 64 random states", reached=max(off.values()), within=1e-10)


@CHARGED
def test_charge_is_conserved_over_a_beat(cell, verified):
    """What leaves through the membrane, stimulus included, is missing inside: the potential follows from the ions."""
    off = []
    for i, twin in enumerate(cell.twins):
        y = {name: np.asarray(cell.beat[1].values[name])[i] for name in cell.names}
        charge = np.asarray(jax.vmap(lambda y, model=twin.model: model.conserved(cell.cls.State(**y)).charge)(y))
        off.append(np.max(np.abs(charge / charge[0] - 1.0)))
    what = "conservation of charge over a beat, as a share of all ions inside"
    verified(cell.catalogued, what, "0", reached=max(off), within=1e-10)


def test_ions_inside_match_the_currents_in_ten_tusscher():
    """The potential from the amounts of ions, by their charges and the volumes written down again."""
    p, x = types.SimpleNamespace(**columns_of(TenTusscher2006())), TEN_TUSSCHER.beat[1].values

    def total(free, buffer, half):
        free = np.asarray(free)
        return free + buffer * free / (free + half)

    calcium = (
        p.V_c * total(x["Ca_i"], p.Buf_c, p.K_buf_c)
        + p.V_sr * total(x["Ca_SR"], p.Buf_sr, p.K_buf_sr)
        + p.V_ss * total(x["Ca_ss"], p.Buf_ss, p.K_buf_ss)
    )
    ions = p.V_c * (np.asarray(x["Na_i"]) + np.asarray(x["K_i"])) + 2.0 * calcium
    np.testing.assert_allclose(np.diff(x["V"]), np.diff(96485.3415 / p.Cm * ions), atol=1e-4)


def test_ions_inside_match_the_currents_in_ohara_rudy():
    """Likewise; a cylinder of 38 pL whose membrane is twice as large as it looks."""
    x = {name: np.asarray(column) for name, column in OHARA_RUDY.beat[1].values.items()}
    cmdn = np.array([columns_of(twin.model)["cmdnmax"] for twin in OHARA_RUDY.twins])[:, None]
    cell = 3.14 * 0.0011**2 * 0.01  # cm^3
    capacitance = 2.0 * (2 * 3.14 * 0.0011**2 + 2 * 3.14 * 0.0011 * 0.01)  # uF, at 1 uF/cm^2
    cai = x["cai"] * (1.0 + cmdn / (x["cai"] + 0.00238) + 0.07 / (x["cai"] + 0.0005))
    cass = x["cass"] * (1.0 + 0.047 / (x["cass"] + 0.00087) + 1.124 / (x["cass"] + 0.0087))
    cajsr = x["cajsr"] * (1.0 + 10.0 / (x["cajsr"] + 0.8))
    # umol, as mmol/L is umol/cm^3
    ions = cell * (0.68 * (x["nai"] + x["ki"] + 2.0 * cai) + 0.02 * (x["nass"] + x["kss"] + 2.0 * cass))
    ions += cell * 2.0 * (0.0552 * x["cansr"] + 0.0048 * cajsr)
    # C/mol umol / uF = V
    np.testing.assert_allclose(np.diff(x["v"]), np.diff(1000.0 * 96485.0 * ions / capacitance), atol=1e-4)


@CHARGED
def test_nothing_else_is_conserved(cell):
    """At rest the rates' Jacobian lacks as many ranks as there are conserved quantities, and has all with them."""
    # hours after a beat
    y = cell.by_cvode(np.array([0.0, 1e8]), cell.twins[0])[-1]
    n = len(cell.names)
    everywhere = {name: np.full(n, value) for name, value in zip(cell.names, y, strict=True)}
    found = cell.slopes(columns_of(cell.cls(), n), everywhere, dict(zip(cell.names, np.eye(n), strict=True)))

    def amounts(y):
        kept = cell.cls().conserved(cell.cls.State(**dict(zip(cell.names, y, strict=True))))
        return jnp.stack([getattr(kept, name) for name in conserved(cell.cls)])

    size = np.abs(np.where(y == 0.0, 1.0, y))
    matrix, slopes = np.array([found[name] for name in cell.names]) * size, np.asarray(jax.jacrev(amounts)(y)) * size
    matrix, slopes = (rows / np.abs(rows).max(axis=1, keepdims=True) for rows in (matrix, slopes))
    assert np.linalg.matrix_rank(matrix, tol=1e-12) == len(cell.names) - len(slopes)
    assert np.linalg.matrix_rank(np.concatenate([matrix, slopes]), tol=1e-6) == len(cell.names)


def test_a_drug_from_outside_adds_to_the_one_inside(rng):
    """`drug` and `D` are one concentration, and where there is none its effects have finite slopes."""
    n = 5
    y = OHARA_RUDY.random_states(rng, n)
    p = columns_of(OHaraRudyCiPA(**DOFETILIDE, INa_IC50=400.0, INa_h=0.9, IK1_IC50=300.0, IK1_h=0.3), n)

    def rates(p, y, drug):
        own = with_parameters(OHaraRudyCiPA(), p)
        found = own.rates(0.0, own.State(**y), own.In(stimulus=0.0, drug=drug))
        return {name: getattr(found, name) for name in OHARA_RUDY.names}

    def both(p, y, drug):
        return jax.jvp(lambda drug: rates(p, y, drug), (drug,), (jnp.ones_like(drug),))

    inside, _ = jax.vmap(both)(p, y, np.zeros(n))
    outside, _ = jax.vmap(both)(p | {"D": np.full(n, 100.0)}, y, np.full(n, 400.0))
    for name in OHARA_RUDY.names:
        np.testing.assert_allclose(outside[name], inside[name], rtol=1e-12, err_msg=name)
    none, slopes = jax.vmap(both)(p | {"D": np.zeros(n)}, y, np.zeros(n))
    clean = OHARA_RUDY.rates(columns_of(OHaraRudyCiPA(Ku=1.79e-5, Vhalf=-1.147), n), y, np.zeros(n))
    for name in OHARA_RUDY.names:
        np.testing.assert_allclose(none[name], clean[name], rtol=1e-12, err_msg=name)
        assert np.isfinite(slopes[name]).all(), name
    assert (np.asarray(slopes["v"]) != 0.0).all()
