"""What lanes says when a function is outside the subset it can compile."""

from __future__ import annotations

import contextlib
import pathlib
from typing import Any

_HERE = pathlib.Path(__file__).parent


class LoweringError(NotImplementedError):
    """A jaxpr uses something that lanes cannot lower; names the primitive and the user's source line."""


def unsupported(eqn: Any, why: str) -> LoweringError:
    """A `LoweringError` about one equation, with the line of the user's program that made it."""
    return LoweringError(f"lanes cannot compile `{eqn.primitive.name}`: {why} ({source_line(eqn) or 'source unknown'})")


def source_line(eqn: Any, *below: pathlib.Path) -> str:
    """``file:line (function)`` of the user's code behind an equation; empty if that is not known.

    Args:
        eqn: of a jaxpr.
        below: folders whose code is not the user's, as this one's is not.
    """
    # jax keeps these helpers private; without them the error is poorer, not wrong
    try:
        from jax._src import source_info_util

        frames = source_info_util.user_frames(eqn.source_info.traceback)
        frame = next((f for f in frames if pathlib.Path(f.file_name).parent not in (_HERE, *below)), None)
    except (ImportError, AttributeError):
        return ""
    return "" if frame is None else f"{frame.file_name}:{frame.start_line} ({frame.function_name})"


def as_written(eqn: Any) -> contextlib.AbstractContextManager[Any]:
    """What is traced inside has the source of an equation: where a jaxpr is evaluated anew, errors keep the user's line."""
    try:
        from jax._src import source_info_util

        return source_info_util.user_context(eqn.source_info.traceback)
    except (ImportError, AttributeError):
        return contextlib.nullcontext()
