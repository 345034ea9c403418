"""The benchmarks' sizes and settings: the full ones behind a record, and quick ones that only show that all works."""

from __future__ import annotations

from dataclasses import dataclass, field

# Afterload, the left ventricle and its filling: what arterial pressure and left ventricular volume determine
FREE = ("R_AR_SYS", "C_AR_SYS", "EA_LV", "EB_LV", "R_VEN_PUL")


@dataclass(frozen=True)
class Circulation:
    """The circulation cohort on everything.

    Attributes:
        twins: of the cohort.
        seconds: simulated, s.
        saves: equally spaced, all states.
        tolerance: relative and absolute.
        seed: of the cohort.
        repeats: of each fast row, of which the median counts.
        slow_repeats: of each slow row.
        reference: twins with a reference; errors are taken over them.
        cvode: twins for CVODE.
        lsoda: twins for SciPy.
        diffrax: twins for diffrax.
        batch: twins in one call of diffrax.
        small_batch: the same, where calls run on several threads.
    """

    twins: int = 4096
    seconds: float = 10.0
    saves: int = 101
    tolerance: float = 1e-4
    seed: int = 0
    repeats: int = 7
    slow_repeats: int = 2
    reference: int = 256
    cvode: int = 1024
    lsoda: int = 128
    diffrax: int = 4096
    batch: int = 1024
    small_batch: int = 128


@dataclass(frozen=True)
class Jacobian:
    """Sensitivities against a reference.

    Attributes:
        twins: of the cohort.
        seconds: simulated, s.
        saves: equally spaced.
        tolerances: relative; the absolute one is the same number.
        free: parameters.
        observed: states.
        seed: of the cohort.
        differences: twins on which the reference itself is checked by central differences.
    """

    twins: int = 256
    seconds: float = 10.0
    saves: int = 51
    tolerances: tuple[float, ...] = (1e-3, 1e-5, 1e-7)
    free: tuple[str, ...] = FREE
    observed: tuple[str, ...] = ("p_AR_SYS", "V_LV", "p_AR_PUL", "V_RV")
    seed: int = 1
    differences: int = 8


@dataclass(frozen=True)
class Calibration:
    """Fitting a cohort whose truth is known.

    Attributes:
        twins: of the cohort.
        seconds: observed, s.
        points: times of measurement, each of every observable.
        free: parameters to fit.
        noise: standard deviation of each observable's measurements.
        tolerance: of this package's solver, relative and absolute.
        seed: of the cohort and of the noise.
        levels: of the intervals.
        lsoda: twins fitted by SciPy on LSODA.
        cvode: twins fitted by SciPy on CVODES.
        starts: of SciPy's search for the best objective.
        rivals: twins on which it searches.
    """

    twins: int = 4096
    seconds: float = 4.0
    points: int = 20
    free: tuple[str, ...] = FREE
    noise: dict[str, float] = field(default_factory=lambda: {"p_AR_SYS": 2.0, "V_LV": 3.0})
    tolerance: float = 1e-6
    seed: int = 2
    levels: tuple[float, ...] = (0.5, 0.9, 0.99)
    lsoda: int = 8
    cvode: int = 64
    starts: int = 5
    rivals: int = 128


@dataclass(frozen=True)
class Impossible:
    """A cohort in which some twins cannot live.

    Attributes:
        twins: of the cohort, all told.
        share: of them that are impossible.
        seconds: simulated, s.
        saves: equally spaced, all states.
        tolerance: relative and absolute.
        seed: of the cohort.
        repeats: of each of the two runs, in turns.
    """

    twins: int = 4096
    share: float = 0.01
    seconds: float = 10.0
    saves: int = 101
    tolerance: float = 1e-4
    seed: int = 3
    repeats: int = 11


@dataclass(frozen=True)
class FirstResult:
    """From starting Python to the first result of a model that nobody has compiled before.

    Attributes:
        twins: to solve.
        repeats: of each of the two, cold and cached.
        models: which of them; see first_result.py.
    """

    twins: int = 1000
    repeats: int = 3
    models: tuple[str, ...] = ("left_heart", "circulation")


@dataclass(frozen=True)
class Stiff:
    """Stiff problems; see stiff_problems.py.

    Attributes:
        problems: for work and precision.
        tolerances: relative, for the same.
        copies: equal twins in lanes for the time of one.
        cvode_copies: of CVODE.
        diffrax_copies: of diffrax.
        diffrax_steps: budget of diffrax, for a twin.
        ensembles: problems solved with parameters spread.
        twins: of an ensemble.
        spread: standard deviation of the parameters' logarithms.
        error: median error that every solver's tolerance is chosen for.
        seed: of the ensembles.
        pilot: twins with a reference, on which tolerances are chosen.
        repeats: of lanes, of which the median counts.
        cvode: twins of CVODE.
        diffrax: twins of diffrax.
        batch: twins in one call of diffrax.
        small_batch: the same, where calls run on several threads.
        compiled: models that are compiled.
        free: numbers of sensitivities that they are compiled with.
    """

    problems: tuple[str, ...] = ("VDPOL", "ROBER", "OREGO", "HIRES", "POLLU", "ten Tusscher 2006")
    tolerances: tuple[float, ...] = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9)
    copies: int = 512
    cvode_copies: int = 16
    diffrax_copies: int = 16
    diffrax_steps: int = 100_000
    ensembles: tuple[str, ...] = ("HIRES", "OREGO", "POLLU", "ten Tusscher 2006")
    twins: int = 4096
    spread: float = 0.2
    error: float = 1e-4
    seed: int = 4
    pilot: int = 128
    repeats: int = 3
    cvode: int = 1024
    diffrax: int = 512
    batch: int = 128
    small_batch: int = 16
    compiled: tuple[str, ...] = ("HIRES", "POLLU", "ten Tusscher 2006", "O'Hara-Rudy CiPA")
    free: tuple[int, ...] = (0, 1, 4, 8)


@dataclass(frozen=True)
class LongInputs:
    """Inputs with many samples.

    Attributes:
        week_twins: twins with a week of samples.
        week: samples, one every five minutes.
        line_twins: twins with an arterial line.
        line: samples, at 125 Hz.
        tolerance: relative and absolute.
        seed: of the samples.
        repeats: of each call, of which the median counts.
        diffrax: twins of diffrax, with a week each.
    """

    week_twins: int = 1000
    week: int = 2016
    line_twins: int = 1000
    line: int = 100_000
    tolerance: float = 1e-5
    seed: int = 6
    repeats: int = 3
    diffrax: int = 64


@dataclass(frozen=True)
class Periodic:
    """Periodic states of the circulation, by Newton's method and by pacing.

    Attributes:
        twins: of the cohort.
        tolerance: of the periodic state: the residual wanted, and where pacing stops.
        rtol: with which Newton's method is asked, relative and absolute.
        most_beats: after which pacing gives up.
        seed: of the cohort.
        repeats: of Newton's search, of which the median counts.
        free: parameters.
        gradient_twins: twins whose derivatives are compared.
        beats: paced for the derivatives compared with.
        rtols: of the derivatives.
    """

    twins: int = 4096
    tolerance: float = 1e-8
    rtol: float = 1e-9
    most_beats: int = 400
    seed: int = 0
    repeats: int = 3
    free: tuple[str, ...] = FREE
    gradient_twins: int = 64
    beats: int = 200
    rtols: tuple[float, ...] = (1e-4, 1e-6, 1e-8)


@dataclass(frozen=True)
class Gradients:
    """Derivatives through schedules, events, periodic and steady states.

    Attributes:
        twins: of each cohort.
        cohorts: which; see gradients.py.
        methods: of this package.
        rtols: relative tolerances; the absolute ones follow from them, see gradients_cohorts.py.
        seed: of the cohorts.
        differences: twins of the circulation on which its reference is checked by differences.
    """

    twins: int = 64
    cohorts: tuple[str, ...] = ("oral drug", "meals", "insulin pump", "HIRES at rest", "circulation")
    methods: tuple[str, ...] = ("Tsit5", "Rodas5P")
    rtols: tuple[float, ...] = (1e-3, 1e-5, 1e-7)
    seed: int = 7
    differences: int = 16


@dataclass(frozen=True)
class Hostile:
    """Random twins far outside of all bounds; see hostile.py.

    Attributes:
        draws: simulated at least, over all models and methods together.
        fixed_points: searches for a steady and as many for a periodic state, of each model.
        slice: draws in one call.
        max_steps: budget of a twin's simulation.
        models: which; all if there are none.
        methods: which; all if there are none.
        seed: of the draws.
        workers: processes at a time.
        limit: of a process, seconds.
        most_ms: a draw of the slowest slice may take, milliseconds.
    """

    draws: int = 100_000
    fixed_points: int = 208
    slice: int = 208
    max_steps: int = 2000
    models: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    seed: int = 8
    workers: int = 2
    limit: float = 300.0
    most_ms: float = 100.0


@dataclass(frozen=True)
class Cipa:
    """qNet under the CiPA initiative's training drugs.

    Attributes:
        beats: under a drug.
        counts: of beats after which qNet is looked at too.
        rtol: relative tolerance.
        atol: absolute tolerance.
    """

    beats: int = 1000
    counts: tuple[int, ...] = (50, 100, 200, 400)
    rtol: float = 1e-6
    atol: float = 1e-9


@dataclass(frozen=True)
class Bodies:
    """Whole bodies at rest, and the speed of every model of the library; see bodies_models.py.

    Attributes:
        twins: of each body, drawn from its priors.
        bodies: which of them; all if there are none.
        models: which models' speed is measured; all of the library if there are none.
        share: of the time simulated.
        seed: of the cohorts.
        rtol: relative tolerance of the measurement of speed.
        atol: absolute tolerance of the same.
        saves: equally spaced, of the same.
        lanes: twins in lanes.
        repeats: of lanes, of which the median counts.
        diffrax: twins of diffrax.
        few: the same, where it takes long.
        ida: twins of IDA.
        peer_repeats: of diffrax.
        reference: twins with a reference.
    """

    twins: int = 1000
    bodies: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    share: float = 1.0
    seed: int = 0
    rtol: float = 1e-5
    atol: float = 1e-8
    saves: int = 11
    lanes: int = 1024
    repeats: int = 3
    diffrax: int = 1024
    few: int = 64
    ida: int = 4
    peer_repeats: int = 1
    reference: int = 16


@dataclass(frozen=True)
class Regroup:
    """Twins put side by side by their steps; see regroup_cohorts.py.

    Attributes:
        twins: of a cohort.
        few: the same where it takes long.
        slow: models of the library that take long.
        models: of the library, drawn from their priors.
        meals: whether diabetics with meals of their own are among them.
        problems: stiff ones, parameters spread.
        spread: standard deviation of their parameters' logarithms.
        rtol: relative tolerance.
        atol: absolute tolerance.
        lorenz: both, of the Lorenz equations.
        saves: equally spaced.
        seed: of the cohorts.
        looser: tolerances of pilots, relative to those of the solve.
        sample: twins from which a regression is learnt.
        moved: standard deviation of the logarithms by which parameters were other in a solve before.
        pilots: repeats of what a predictor costs.
        slices: in which a cohort is solved.
        repeats: of each order, in turns.
        fitted: twins of the calibrations.
        fit_rtol: tolerance of the same.
        fits: repeats of the same.
    """

    twins: int = 10_000
    few: int = 512
    slow: tuple[str, ...] = ("cardio_respiratory", "ten_tusscher")
    models: tuple[str, ...] = ("circulation", "cardio_respiratory", "metabolic", "uva_padova", "pbpk", "ten_tusscher")
    meals: bool = True
    problems: tuple[str, ...] = ("POLLU", "OREGO")
    spread: float = 0.2
    rtol: float = 1e-5
    atol: float = 1e-8
    lorenz: float = 1e-6
    saves: int = 11
    seed: int = 0
    looser: tuple[float, ...] = (10.0, 100.0)
    sample: int = 512
    moved: float = 0.05
    pilots: int = 2
    slices: int = 4
    repeats: int = 5
    fitted: int = 1024
    fit_rtol: float = 1e-5
    fits: int = 2


@dataclass(frozen=True)
class Instructions:
    """Machine instructions of a step on an NVIDIA GPU, beside those of kernels by hand.

    Attributes:
        problems: of `benchmarks.gpu.problems`.
        precisions: of the states.
        architecture: that is compiled for.
    """

    problems: tuple[str, ...] = ("lorenz", "circulation")
    precisions: tuple[str, ...] = ("float32", "float64")
    architecture: str = "sm_90"
