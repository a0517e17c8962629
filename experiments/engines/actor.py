"""What runs in a worker process: it keeps one object that all work needs, and says how each piece of work ended."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

NO_MEMORY = ("can't allocate memory", "CUDA out of memory")  # of RuntimeErrors that torch raises


@dataclass(frozen=True)
class Place:
    """Where a worker is: its node and its process."""

    node_id: str
    node: str
    pid: int


@dataclass(frozen=True)
class Outcome:
    """How a piece of work ended, beside what it returned.

    Attributes:
        error: what it raised, in one line; None where it returned.
        out_of_memory: whether that was the machine's lack of memory.
    """

    error: str | None = None
    out_of_memory: bool = False


class Actor:
    """One worker process."""

    def __init__(self) -> None:
        self._kept: Any = None

    def start(self, first: Callable[[], object]) -> Place:
        """Calls ``first``, which is no work's own time, and returns where this is."""
        import ray

        first()
        context = ray.get_runtime_context()
        return Place(context.get_node_id(), ray.util.get_node_ip_address(), os.getpid())

    def keep(self, make: Callable[..., Any], *arguments: Any) -> None:
        """Makes the object that all work from now on gets first."""
        self._kept = make(*arguments)

    def last(self) -> None:
        """Never returns: whoever called it is told when the process is gone."""
        threading.Event().wait()

    def answer(self) -> None:
        """Returns, which shows that the process lives."""

    def run(self, work: Callable[..., Any], *arguments: Any) -> tuple[Outcome, Any]:
        """Returns how ``work(kept, *arguments)`` ended and what it returned."""
        try:
            return Outcome(), work(self._kept, *arguments)
        except Exception as error:
            return Outcome(described(error), is_out_of_memory(error)), None


def described(error: Exception) -> str:
    """Returns an error as one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def is_out_of_memory(error: Exception) -> bool:
    """Returns whether ``error`` says that this machine has no memory left."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(text in str(error) for text in NO_MEMORY)
    )
