"""What a user asks for: `run` a spec in Python; on the command line ``hauberk run``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hauberk.experiments.runner.execute import run
    from hauberk.experiments.runner.finalize import Result
    from hauberk.experiments.spec.loader import Spec

__all__ = ["Result", "Spec", "run"]


def __getattr__(name: str) -> Any:
    """Imports on first use: the command line shows its help without waiting for torch."""
    if name in ("run", "Result"):
        from hauberk.experiments.runner import execute

        return getattr(execute, name)
    if name == "Spec":
        from hauberk.experiments.spec.loader import Spec

        return Spec
    raise AttributeError(name)
