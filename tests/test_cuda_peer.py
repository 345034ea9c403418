"""The CUDA kernels written by hand, on the processor: the same source, compiled by g++, against this package and SciPy."""

import shutil
import subprocess
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from benchmarks.cohort import STATES, circulation_cohort
from benchmarks.peers import cuda_kernels, stiff_cvode, stiff_lanes
from benchmarks.peers.build import Unavailable
from benchmarks.peers.cuda.elimination import factors
from benchmarks.stiff_problems import POLLU, TEN_TUSSCHER, ensemble, errors
from vht.model import Organ, Scalar, Vars, param, state, with_parameters
from vht.organs.circulation import Circulation
from vht.solve import RK4, Tsit5, controller, simulate, simulate_with_jacobian
from vht.solve.steppers import UNDERESTIMATE
from vht.solve.stiff import CAUTION, Stiff

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ on this machine")
needs_nvcc = pytest.mark.skipif(cuda_kernels._nvcc() is None, reason="no nvcc on this machine")
RHO = np.linspace(0.0, 21.0, 48)


class Lorenz(Organ):
    time: ClassVar[str] = "1"
    rho: Scalar = param(28.0, "1", "Rayleigh number")

    class State(Vars):
        x: Scalar = state(1.0, "1", "convection")
        y: Scalar = state(0.0, "1", "temperature across")
        z: Scalar = state(0.0, "1", "temperature along")

    def rates(self, t, x, u):
        return self.State(x=10.0 * (x.y - x.x), y=x.x * (self.rho - x.z) - x.y, z=x.x * x.y - (8.0 / 3.0) * x.z)


def by_hand(problem, columns, tolerance, **settings):
    settings = {"repeats": 1, "architecture": "cpu", **settings}
    return cuda_kernels.run(problem, "float64", columns, rtol=tolerance, atol=tolerance, **settings)


def at_end(found, names):
    assert found.ok.all()
    return np.stack([np.asarray(found.values[name])[:, -1] for name in names])


def relative(values, others):
    return np.max(np.abs(values - others) / np.abs(others).max(axis=1, keepdims=True), axis=0)


def lorenz_by_scipy(rho, start=(1.0, 0.0, 0.0)):
    def rates(t, y):
        return [10.0 * (y[1] - y[0]), y[0] * (rho - y[2]) - y[1], y[0] * y[1] - 8.0 / 3.0 * y[2]]

    return solve_ivp(rates, (0.0, 1.0), start, method="DOP853", rtol=1e-13, atol=1e-13).y[:, -1]


@needs_compiler
def test_lorenz_is_scipys():
    found = by_hand("lorenz", RHO[None], 1e-10)
    exact = np.stack([lorenz_by_scipy(rho) for rho in RHO], axis=1)
    assert relative(found.values, exact).max() < 1e-9
    assert (found.status == 0).all() and len(found.kernel_seconds) == 1 and found.transfer_seconds == ()


@needs_compiler
@pytest.mark.parametrize(("mode", "method"), [("fixed", Tsit5(step=1e-3)), ("rk4", RK4(step=1e-3))])
def test_fixed_steps_are_this_package_s(mode, method):
    found = by_hand("lorenz", RHO[None], 0.0, mode=mode, steps=1000, transfer=True, repeats=2)
    own = simulate(Lorenz(), np.array([1.0]), twins={"rho": RHO}, method=method)
    assert relative(found.values, at_end(own, "xyz")).max() < 1e-13
    assert (found.steps == 1000).all() and len(found.transfer_seconds) == 2


@needs_compiler
@pytest.mark.parametrize(("end", "agreement"), [(0.3, 1e-12), (1.0, 1e-9)])
def test_adaptive_steps_and_gradients_are_this_package_s(end, agreement):
    settings = Tsit5(rtol=1e-4, atol=1e-4, first_step=1e-3)
    found = by_hand("lorenz", RHO[None], 1e-4, first_step=1e-3, end=end)
    own = simulate(Lorenz(), np.array([end]), twins={"rho": RHO}, method=settings)
    assert relative(found.values, at_end(own, "xyz")).max() < agreement
    assert found.steps.mean() == pytest.approx(float(np.asarray(own.steps).mean()), rel=0.0)

    found = by_hand("lorenz_gradient", RHO[None], 1e-4, first_step=1e-3, end=end)
    free = ["rho", "initial.x", "initial.y", "initial.z"]
    own, slopes = simulate_with_jacobian(Lorenz(), np.array([end]), free=free, twins={"rho": RHO}, method=settings)
    gradient = np.asarray(slopes["x"] + slopes["y"] + slopes["z"])[:, 0].T
    assert relative(found.values, np.concatenate([at_end(own, "xyz"), gradient])).max() < agreement
    assert found.steps.mean() == pytest.approx(float(np.asarray(own.steps).mean()), rel=0.0)


@needs_compiler
def test_gradients_are_difference_quotients():
    tight = by_hand("lorenz_gradient", RHO[[10, 40]][None], 1e-11).values[3:]
    for i, rho in enumerate(RHO[[10, 40]]):
        at, quotients = np.array([rho, 1.0, 0.0, 0.0]), []
        for k in range(4):
            move = 1e-4 * np.eye(4)[k]
            up, down = (lorenz_by_scipy(p[0], p[1:]).sum() for p in (at + move, at - move))
            quotients.append((up - down) / 2e-4)
        np.testing.assert_allclose(tight[:, i], quotients, rtol=1e-6, atol=1e-7)


@needs_compiler
@pytest.mark.parametrize("size", cuda_kernels.LORENZ96_SIZES)
def test_lorenz96_is_scipys(size):
    forcing = np.array([7.5, 8.0, 8.5])
    found = by_hand(f"lorenz96_{size}", forcing[None], 1e-10, end=0.5)
    steps = by_hand(f"lorenz96_{size}", forcing[None], 0.0, mode="fixed", steps=2000, end=0.5)
    for i, f in enumerate(forcing):
        start = np.full(size, f)
        start[0] += 0.01

        def rates(t, y, f=f):
            return (np.roll(y, -1) - np.roll(y, 2)) * np.roll(y, 1) - y + f

        exact = solve_ivp(rates, (0.0, 0.5), start, method="DOP853", rtol=1e-13, atol=1e-13).y[:, -1]
        np.testing.assert_allclose(found.values[:, i], exact, rtol=1e-8)
        np.testing.assert_allclose(steps.values[:, i], exact, rtol=1e-8)


@needs_compiler
def test_the_circulation_is_this_package_s():
    cohort = circulation_cohort(24, np.array([0.0, 1.0]), seed=0)
    columns, twins = cohort.parameters.T, {name: cohort.column(name) for name in cohort.varied}

    def own(end, **settings):
        return simulate(Circulation(), np.array([end]), twins=twins, method=Tsit5(**settings))

    fixed = by_hand("circulation", columns, 0.0, mode="fixed", steps=2000, end=1.0)
    assert relative(fixed.values, at_end(own(1.0, step=1.0 / 2000), STATES)).max() < 1e-11

    # on the way to the first kink both take the same steps; each kink then magnifies what rounding left
    begun, found = by_hand("circulation", columns, 1e-4, end=0.02), own(0.02, rtol=1e-4, atol=1e-4)
    assert np.mean(begun.steps == np.asarray(found.steps)) >= 0.75
    assert np.median(relative(begun.values, at_end(found, STATES))) < 1e-10

    whole, found = by_hand("circulation", columns, 1e-4, end=1.0), own(1.0, rtol=1e-4, atol=1e-4)
    exact = at_end(own(1.0, rtol=1e-11, atol=1e-11), STATES)
    error, other = (np.median(relative(v, exact)) for v in (whole.values, at_end(found, STATES)))
    assert error < 1e-3 and 0.4 < error / other < 2.5
    assert whole.steps.mean() == pytest.approx(float(np.asarray(found.steps).mean()), rel=0.05)


@needs_compiler
def test_pollu_is_this_package_s_and_the_published_one():
    twins = ensemble(POLLU, 16, spread=0.1, seed=3)
    found = cuda_kernels.run(
        "pollu", "float64", twins.parameters.T, rtol=1e-4, atol=1e-4 * POLLU.threshold, repeats=1, architecture="cpu"
    )
    own = stiff_lanes.solve(twins, rtol=1e-4)
    assert (found.steps == own.steps).all()
    assert errors(found.values.T, own.values, POLLU).max() < 1e-10

    alone = ensemble(POLLU, 1)
    found = cuda_kernels.run(
        "pollu", "float64", alone.parameters.T, rtol=1e-9, atol=1e-9 * POLLU.threshold, repeats=1, architecture="cpu"
    )
    assert errors(found.values.T, np.array([POLLU.reference]), POLLU).max() < 1e-7


@needs_compiler
def test_a_beat_is_this_package_s_and_cvodes():
    twins = ensemble(TEN_TUSSCHER, 6, spread=0.1, seed=3)

    def run(rtol):
        columns, atol = twins.parameters.T, rtol * TEN_TUSSCHER.threshold
        return cuda_kernels.run("ten_tusscher", "float64", columns, rtol=rtol, atol=atol, repeats=1, architecture="cpu")

    beat, own = run(1e-5), stiff_lanes.solve(twins, rtol=1e-5)
    assert beat.steps.mean() == pytest.approx(own.steps.mean(), rel=0.05)
    exact = stiff_cvode.solve(twins.take(slice(2)), rtol=1e-11).values
    assert errors(run(1e-8).values[:, :2].T, exact, TEN_TUSSCHER).max() < 1e-6
    assert errors(beat.values[:, :2].T, exact, TEN_TUSSCHER).max() < 1e-3


_HARNESS = """
#include <stdio.h>
#include "{name}.cuh"
int main(int argc, char **argv) {{
  using P = {type}<double>;
  double x[P::states], p[P::columns], b[P::states], dx[P::states], d;
  FILE *file = fopen(argv[argc - 1], "rb");
  while (fread(&d, 8, 1, file) && fread(x, sizeof x, 1, file) && fread(p, sizeof p, 1, file) && fread(b, sizeof b, 1, file)) {{
    P problem(p, 1, 0);
    P::Factors factors;
    problem.rates(0.0, x, dx);
    problem.jacobian(x, factors);
    factors.factor(d);
    factors.solve(b);
    for (int j = 0; j < P::states; j++) printf("%.17g %.17g\\n", dx[j], b[j]);
  }}
}}
"""


@needs_compiler
@pytest.mark.parametrize(("name", "problem"), [("pollu", POLLU), ("ten_tusscher", TEN_TUSSCHER)])
def test_jacobians_are_jax_s(name, problem, tmp_path, rng):
    twins, size = ensemble(problem, 12, spread=0.3, seed=5), len(problem.names)
    points, expected = [], []
    for i in range(len(twins)):
        y = np.where(twins.initial[i] == 0.0, 0.1, twins.initial[i]) * np.exp(0.5 * rng.standard_normal(size))
        if problem is TEN_TUSSCHER:
            y[0] = [-100.0, -60.0, -30.0, 15.3, 40.0, 14.9][i % 6]
        p = twins.parameters[i]

        def rates(y, p=p):
            model = with_parameters(problem.model, {name: p[i] for i, name in enumerate(twins.names)})
            given = None if problem.pulse is None else model.In(**{problem.pulse.port: jnp.asarray(0.0)})
            found = model.rates(0.0, model.State(**{name: y[i] for i, name in enumerate(problem.names)}), given)
            return jnp.stack([jnp.asarray(getattr(found, name)) for name in problem.names])

        slopes, right = np.asarray(jax.jacfwd(rates)(y)), rng.standard_normal(size)
        diagonal = 3.0 * np.abs(slopes).max() if i % 2 else 0.1 * np.abs(slopes).max()
        matrix = diagonal * np.eye(size) - slopes
        points.append(np.concatenate([[diagonal], y, p, right]))
        expected.append((np.asarray(rates(y)), np.abs(slopes) @ np.abs(y), matrix, right))
    np.concatenate(points).tofile(tmp_path / "points")
    cuda_kernels._write(cuda_kernels._sources(), str(tmp_path))
    kind = "".join(part.capitalize() for part in name.split("_"))
    (tmp_path / "harness.cpp").write_text(_HARNESS.format(name=name, type=kind))
    command = ["g++", *cuda_kernels._GPP_FLAGS, "harness.cpp", "-o", "harness"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    said = subprocess.run([tmp_path / "harness", tmp_path / "points"], check=True, capture_output=True, text=True)
    found = np.array(said.stdout.split(), np.float64).reshape(len(twins), size, 2)
    for (rates, magnitude, matrix, right), given in zip(expected, found, strict=True):
        assert np.all(np.abs(given[:, 0] - rates) <= 1e-12 * magnitude)
        # the residual of the solution, to rounding of each row
        assert np.all(
            np.abs(matrix @ given[:, 1] - right) <= 1e-11 * (np.abs(matrix) @ np.abs(given[:, 1]) + abs(right))
        )


def test_the_tests_of_errors_are_this_package_s():
    explicit, stiff = ((cuda_kernels.FOLDER / name).read_text() for name in ("tsit5.cuh", "rodas5p.cuh"))
    assert f"underestimate = T({UNDERESTIMATE!r})" in explicit
    assert f"underestimate = T({float(Stiff.underestimate)!r})" in stiff and f"caution = T({CAUTION!r})" in stiff
    for text, gains in ((explicit, controller.EXPLICIT), (stiff, controller.STIFF)):
        assert f"now = {gains.now!r}, before = {gains.before!r};" in text


@needs_compiler
def test_single_precision_is_close():
    found = cuda_kernels.run(
        "lorenz", "float32", RHO[None], rtol=1e-5, atol=1e-5, repeats=1, architecture="cpu", block=32
    )
    assert found.values.dtype == np.float32 and found.block == 32
    exact = np.stack([lorenz_by_scipy(rho) for rho in RHO], axis=1)
    assert relative(found.values, exact).max() < 1e-3


@needs_compiler
def test_failures_are_no_numbers():
    found = by_hand("lorenz", RHO[None], 1e-10, max_steps=5)
    assert (found.status == 1).all() and (found.steps == 5).all() and np.isnan(found.values).all()
    found = by_hand("lorenz", np.array([[1.0, np.nan]]), 1e-4)
    assert (
        found.status.tolist() == [0, 3] and np.isnan(found.values[:, 1]).all() and np.isfinite(found.values[:, 0]).all()
    )


def test_what_cannot_be_run_is_said():
    with pytest.raises(ValueError, match="must be one of lorenz"):
        cuda_kernels.run("lorentz", "float64", RHO[None])
    with pytest.raises(ValueError, match=r"must have shape \[1, trajectories\], but got \(2, 24\)"):
        cuda_kernels.run("lorenz", "float64", RHO.reshape(2, 24))
    with pytest.raises(ValueError, match="no steps of the kind 'fixed': only adaptive"):
        cuda_kernels.run("pollu", "float64", np.ones((25, 2)), "fixed")
    if not cuda_kernels.available():
        with pytest.raises(Unavailable, match="on this machine"):
            cuda_kernels.run("lorenz", "float64", RHO[None])
    with pytest.raises(ValueError, match="enum States"):
        factors("J(A, A) = 1;", "none")
    with pytest.raises(ValueError, match="B"):
        factors("enum States { A, STATES }; J(A, B) = 1;", "wrong")


@needs_nvcc
def test_kernels_assemble_for_a_gpu():
    # all but the cell, which alone takes as long as the others; g++ compiles that one above
    found = cuda_kernels.assembled("sm_90", ("lorenz", "lorenz96", "circulation", "pollu"))
    for problem in ("Lorenz", "LorenzGradient", "Circulation", *(f"Lorenz96 {n}" for n in cuda_kernels.LORENZ96_SIZES)):
        for precision in cuda_kernels.PRECISIONS:
            assert {f"{problem} fixed {precision}", f"{problem} adaptive {precision}"} <= set(found)
    assert len(found) == 4 * 3 + 4 * len(cuda_kernels.LORENZ96_SIZES) + 2 + 2
    assert {"Lorenz rk4 float32", "Lorenz rk4 float64"} <= set(found)
    # what fits into registers stays there; many states are arrays in local memory
    many = tuple(f"Lorenz96 {n} " for n in cuda_kernels.LORENZ96_SIZES if n > 20)
    for name, usage in found.items():
        assert 0 < usage.registers <= 255
        if name.startswith("Lorenz ") or ("float32" in name and not name.startswith(many)):
            assert usage.spill_stores == usage.spill_loads == 0, name
