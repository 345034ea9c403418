"""What a run says: progress, tables and warnings for people, or one JSON document for programs."""

from __future__ import annotations

import contextlib
import json
import math
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from vht.errors import StudyError

if TYPE_CHECKING:
    import rich.console
    from rich.console import RenderableType
    from rich.progress import Progress


class Console:
    """Where a run speaks to: people read tables on standard output and progress on standard error.

    Args:
        quiet: say nothing but errors.
        as_json: print one JSON document on standard output, and nothing else there.
    """

    def __init__(self, *, quiet: bool = False, as_json: bool = False) -> None:
        self.quiet, self.as_json = quiet, as_json
        self.out, self.err = _rich_console(stderr=False), _rich_console(stderr=True)
        if not self.out.is_terminal and self.out.width < 120:
            self.out.width = 120  # a file is not as narrow as the 80 columns that are assumed of it
        self.told = False  # a document was printed, or begun
        self._failed: OSError | None = None
        self._bars: Progress | None = None

    def show(self, what: RenderableType = "") -> None:
        """Print for people."""
        if not (self.quiet or self.as_json):
            with self._writing():
                self.out.print(what)

    def result(self, document: Any) -> None:
        """Print for programs."""
        if self.as_json:
            with self._writing():
                self.told = True
                escape = not self.out.encoding.startswith("utf")
                text = json.dumps(plain(document), ensure_ascii=escape, allow_nan=False, indent=2)
                self.out.file.write(text + "\n")
                self.out.file.flush()

    def warn(self, message: str) -> None:
        """Print a warning on standard error."""
        if not self.quiet:
            self._complain(f"[yellow]warning:[/] {escaped(message)}")

    def error(self, message: str, document: Any) -> None:
        """Print an error on standard error, and for programs."""
        self._complain(f"[bold red]error:[/] {escaped(message)}")
        if document is not None:
            self.result(document)

    def _complain(self, markup: str) -> None:
        with contextlib.suppress(OSError):  # nobody listens, and there is nowhere else to say so
            self.err.print(markup, soft_wrap=True)

    def stop(self) -> None:
        """Take progress bars away, and show the cursor that they hid."""
        bars = self._bars
        if bars is not None:
            bars.stop()

    def check(self) -> None:
        """Tell what could not be told, when all is done.

        Raises:
            StudyError: something could not be written to standard output.
        """
        if self._failed is not None:
            why = self._failed.strerror or self._failed
            raise StudyError(f"Standard output cannot be written: {why}.") from self._failed

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Something is written to standard output; when that fails nothing is any more, and the work goes on."""
        try:
            yield
        except OSError as error:
            self.quiet, self.as_json = True, False
            # who reads no further, as `head` does, wants no more
            self._failed = None if isinstance(error, BrokenPipeError) else error

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Show progress bars, and Python's warnings in our words, while something runs."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("default", category=UserWarning, module=r"vht\.")
            warnings.filterwarnings("always", message=".*slower `xla` backend")
            warnings.showwarning = lambda message, *_, **__: self.warn(str(message))
            columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            silent = self.quiet or self.as_json or not self.err.is_terminal
            with Progress(*columns, console=self.err, transient=True, disable=silent) as self._bars:
                try:
                    yield
                finally:
                    self._bars = None

    @contextlib.contextmanager
    def stage(self, title: str) -> Iterator[Callable[[int, int], None]]:
        """A bar for one part of the work; gives the function ``(done, total)`` that moves it."""
        bars = self._bars
        if bars is None:
            yield lambda done, total: None
            return
        task = bars.add_task(title, total=None)

        def move(done: int, total: int) -> None:
            bars.update(task, completed=done, total=total)

        try:
            yield move
        finally:
            bars.remove_task(task)


def _rich_console(*, stderr: bool) -> rich.console.Console:
    import rich.console

    class Console(rich.console.Console):
        def on_broken_pipe(self) -> None:
            raise  # to whoever prints: rich would end the program

    # a path may well hold what names an emoji
    return Console(stderr=stderr, highlight=False, emoji=False)


def escaped(text: str) -> str:
    """Text in which brackets are no markup."""
    from rich.markup import escape

    return escape(text)


def plain(value: Any) -> Any:
    """Plain data for JSON: no NumPy, no NaN (null instead)."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)
