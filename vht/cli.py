"""The command line: ``vht calibrate``, ``vht simulate``, ``vht models``, ``vht demo``."""

from __future__ import annotations

import contextlib
import io
import os
import pathlib
import signal
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vht.drafts import abandon

# Only typer up here: what a command needs it imports itself, so that `vht --help` answers at once.
if TYPE_CHECKING:
    from vht.report.console import Console

# of the thread that works: compilers need much, and a thread's own may be small where a process's is not limited
_STACK = 64 * 2**20

OK, INTERNAL, BAD_INPUT, NO_TWIN, INTERRUPTED = 0, 1, 2, 3, 130

app = typer.Typer(
    name="vht",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 an error in vht itself, 2 bad input, 3 no twin succeeded, 130 interrupted.",
)

StudyArgument = Annotated[
    pathlib.Path, typer.Argument(metavar="STUDY.toml", help="The study file.", show_default=False)
]
OutOption = Annotated[
    pathlib.Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the results; made.", show_default=False)
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace an earlier result in that folder, once the new one is complete.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document, and nothing else, on standard output.")
]
DeviceOption = Annotated[
    Literal["auto", "cpu", "gpu"] | None,
    typer.Option(
        "--device",
        help="Where to solve: an NVIDIA GPU, the processor, or the GPU if there is one (default: as the study says, or auto).",
        show_default=False,
    ),
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show Python's traceback of an error.")]
FiguresOption = Annotated[
    bool | None,
    typer.Option("--figures/--no-figures", help="Draw every fit (default: for up to 60 twins).", show_default=False),
]


def _version(wanted: bool) -> None:
    if wanted:
        import vht

        typer.echo(f"vht {vht.__version__}")
        raise typer.Exit(OK)


@app.callback()
def _root(
    version: Annotated[
        bool | None, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Patient twins: organs as differential equations, fitted to a person's own measurements.

    Start with [bold]vht demo[/]; then [bold]vht demo --studies my-studies[/] copies its study files for you to edit.
    """


@app.command(epilog="Example: vht calibrate theophylline/study.toml --out result")
def calibrate(
    study: StudyArgument,
    out: OutOption,
    overwrite: OverwriteOption = False,
    figures: FiguresOption = None,
    device: DeviceOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Fit every twin of a study to its own measurements.

    Writes estimates (CSV, Parquet), fitted curves with their 95 % band (Zarr), figures (PNG) and settings.json.
    """
    with _guarded(quiet=quiet, as_json=as_json, debug=debug) as console:
        _run("calibrate", study, out, console, overwrite=overwrite, figures=figures, device=device)


@app.command(epilog="Example: vht simulate circulation/study.toml --out result")
def simulate(
    study: StudyArgument,
    out: OutOption,
    overwrite: OverwriteOption = False,
    figures: FiguresOption = None,
    device: DeviceOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Simulate the twins of a study: those of its tables, or a cohort drawn from priors.

    Writes trajectories (Zarr), the twins with their parameters (CSV, Parquet), a figure (PNG) and settings.json.
    """
    with _guarded(quiet=quiet, as_json=as_json, debug=debug) as console:
        _run("simulate", study, out, console, overwrite=overwrite, figures=figures, device=device)


@app.command(epilog="Example: vht models cardio_renal --draw body.svg")
def models(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Of one model.", show_default=False)] = None,
    draw: Annotated[
        pathlib.Path | None,
        typer.Option("--draw", metavar="FILE.svg", help="Draw a body: its organs and wires.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """List the library of organs and bodies, or one model's variables, units, sources and what it was verified against."""
    with _guarded(quiet=False, as_json=as_json, debug=debug) as console:
        from vht.errors import ModelError
        from vht.library import catalogue, model
        from vht.report.console import escaped
        from vht.report.models import describe
        from vht.report.picture import draw_body
        from vht.report.tables import model_tables, models_table

        if draw is not None:
            if name is None:
                raise ModelError("Say which body to draw: `vht models BODY --draw FILE.svg`.")
            draw_body(name, model(name), draw)
            console.show(f"Drawn to [bold]{escaped(str(draw))}[/]")
            console.result({"file": str(draw)})
        elif name is None:
            found = catalogue()
            bodies = {key: each for key, each in found.items() if hasattr(each, "parts")}
            organs = {key: each for key, each in found.items() if key not in bodies}
            console.show(models_table("Organs", organs, console.out.width))
            console.show(models_table("Bodies", bodies, console.out.width))
            console.show("vht models NAME shows one with its parameters; vht models BODY --draw FILE.svg draws a body")
            console.result({key: describe(key, each) for key, each in found.items()})
        else:
            for table in model_tables(name, model(name), console.out.width):
                console.show(table)
            console.result({name: describe(name, model(name))})


@app.command(epilog="Example: vht demo --out first-look")
def demo(
    out: Annotated[
        pathlib.Path | None,
        typer.Option(
            "--out", "-o", metavar="DIR", help="Folder for the results (default: vht-demo).", show_default=False
        ),
    ] = None,
    studies: Annotated[
        pathlib.Path | None,
        typer.Option("--studies", metavar="DIR", help="Only copy the demo's study files and tables to DIR."),
    ] = None,
    overwrite: OverwriteOption = False,
    device: DeviceOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Fit 12 theophylline patients and one glucose tolerance test, then simulate 4,096 virtual circulations.

    Takes less than a minute and needs no network.
    """
    with _guarded(quiet=quiet, as_json=as_json, debug=debug) as console:
        from vht.demo.demo import copy_studies, run_demo
        from vht.report.console import escaped

        if studies is not None:
            names = copy_studies(studies)
            first = studies / names[0] / "study.toml"
            copied, example = escaped(str(studies)), escaped(str(first))
            console.show(f"Copied to {copied}. Try: vht calibrate {example} --out result")
            console.result({"studies": [str(studies / name / "study.toml") for name in names]})
        else:
            console.result(run_demo(out, console, overwrite=overwrite, device=device or "auto"))


def _run(
    verb: Literal["calibrate", "simulate"],
    study: pathlib.Path,
    out: pathlib.Path,
    console: Console,
    *,
    overwrite: bool,
    figures: bool | None,
    device: Literal["auto", "cpu", "gpu"] | None,
) -> None:
    import dataclasses

    from vht.cohort.load import load_study
    from vht.cohort.store import check_output, new_result
    from vht.report.console import escaped
    from vht.report.runs import run_calibration, run_simulation
    from vht.solve.device import check_device

    check_output(out, overwrite=overwrite)
    loaded = load_study(study, verb)
    if device is not None:
        loaded = dataclasses.replace(loaded, device=device)
    # before tables are read for nothing
    check_device(loaded.device)
    with new_result(out, overwrite=overwrite) as folder:
        compute = run_calibration if verb == "calibrate" else run_simulation
        run = compute(loaded, folder, console, figures=figures)
    # only now: what is printed may fail, and the result is in its place
    for table in run.tables:
        console.show(table)
    console.show(f"Results in [bold]{escaped(str(out))}[/]")
    console.result({**run.document, "out": str(out), "figures": run.files})
    if not run.success:
        if not console.as_json:
            console.error("No twin succeeded; the results say why for each.", None)
        raise typer.Exit(NO_TWIN)


_INTERRUPTED = "Interrupted; nothing was written."
_TOO_LATE = "Interrupted; what was written before is complete."
# whom to tell of a signal, if a command has begun
_console: Console | None = None
_stopping = False


@contextlib.contextmanager
def _guarded(*, quiet: bool, as_json: bool, debug: bool) -> Iterator[Console]:
    """Turn exceptions into messages and exit codes."""
    from vht.errors import VhtError
    from vht.report.console import Console

    global _console
    console = _console = Console(quiet=quiet, as_json=as_json)
    try:
        yield console
        console.check()
    except typer.Exit:
        raise
    except KeyboardInterrupt:
        console.error(_INTERRUPTED, {"error": "interrupted"})
        raise typer.Exit(INTERRUPTED) from None
    except VhtError as error:
        if debug:
            console.err.print_exception()
        console.error(str(error), {"error": str(error), "problems": _problems(error)})
        raise typer.Exit(BAD_INPUT) from error
    except Exception as error:
        if debug:
            console.err.print_exception()
        hint = "" if debug else " This is an error in vht; `--debug` shows where."
        message = f"{type(error).__name__}: {error}".split("\n")[0]
        console.error(message + hint, {"error": message})
        raise typer.Exit(INTERNAL) from error


def _problems(error: Exception) -> list[dict[str, Any]]:
    out = []
    for problem in getattr(error, "problems", ()):
        if isinstance(problem, tuple):
            out.append({"file": getattr(error, "file", None), "key": problem[0], "message": problem[1]})
        else:
            names = ("file", "row", "column", "message")
            out.append({name: getattr(problem, name) for name in names})
    return out


def main() -> None:
    """The program `vht`."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # a letter that its encoding does not have is no reason to fail; Python sees to standard error's itself
        sys.stdout.reconfigure(errors="replace")
    ends: list[BaseException] = []

    def work() -> None:
        try:
            app()
        except BaseException as end:
            ends.append(end)

    # Python hears signals in the main thread only, between two of its instructions. If the work were done there, a signal
    # would wait for compiled code to end, and what it raises would be lost in a destructor, or break an import.
    size = threading.stack_size(_STACK)
    worker = threading.Thread(target=work, name="vht", daemon=True)
    heard = [signal.SIGTERM]
    # a terminal that is closed, unless `nohup` started us; a batch system's or a shell's limit of processor time
    ends_us = [getattr(signal, name) for name in ("SIGHUP", "SIGXCPU") if hasattr(signal, name)]
    heard += [number for number in ends_us if signal.getsignal(number) is signal.SIG_DFL]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        heard.append(signal.SIGINT)
    for number in heard:
        signal.signal(number, _stop)
    worker.start()
    threading.stack_size(size)
    while worker.is_alive():
        worker.join(0.1)  # not for ever: some systems let another thread have the signal
    for number in heard:
        signal.signal(number, signal.SIG_DFL)
    try:
        # what could not be written must not be tried again when Python ends
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        sys.stdout = None
    try:
        if ends and isinstance(ends[0].__context__, BrokenPipeError):  # `vht --help | head`
            sys.exit(OK)
        if ends:
            raise ends[0]
    except OSError as error:  # of `--help`, say
        print(f"error: Standard output cannot be written: {error.strerror or error}.", file=sys.stderr)
        sys.exit(BAD_INPUT)


def _stop(number: int, _: Any) -> None:
    """End the process at once, whatever its other threads are doing, with nothing half-written left behind."""
    global _stopping
    try:
        written = abandon()
        # a second Ctrl-C does not wait for the first one's message
        if not _stopping:
            _stopping = True
            _tell(number, _TOO_LATE if written else _INTERRUPTED)
    finally:
        os._exit(INTERRUPTED if number == signal.SIGINT else 128 + number)


def _tell(number: int, message: str) -> None:
    if _console is not None:
        _console.stop()
    if number != signal.SIGINT:
        return
    if _console is not None:
        _console.error(message, None if _console.told else {"error": "interrupted"})
    else:
        print(f"error: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
