"""What lanes says when a function is outside the subset it can compile."""

from __future__ import annotations

from typing import Any


class LoweringError(NotImplementedError):
    """A jaxpr uses something that lanes cannot lower; names the primitive and the user's source line."""


def unsupported(eqn: Any, why: str) -> LoweringError:
    """A `LoweringError` about one equation, with the line of the user's program that made it."""
    return LoweringError(f"lanes cannot compile `{eqn.primitive.name}`: {why} ({source_line(eqn) or 'source unknown'})")


def source_line(eqn: Any) -> str:
    """``file:line (function)`` of the user's code behind an equation; empty if that is not known."""
    # jax keeps this helper private; without it the error is poorer, not wrong
    try:
        from jax._src import source_info_util

        return source_info_util.summarize(eqn.source_info)
    except (ImportError, AttributeError):
        return ""
