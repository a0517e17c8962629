"""What a run costs: bytes that its models take on their way, seconds by stage, and memory."""

from __future__ import annotations

import contextlib
import resource
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hauberk.clients.messages import ClientReply
from hauberk.strategies.guard import bytes_of
from hauberk.strategies.layout import Layout

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Traffic:
    """Counts the bytes of the models that the server sends and receives in a round.

    They are those of the tensors as they lie in memory, the same in every engine: headers, retries and compression,
    where there is any, are not in them.
    """

    def __init__(self, layout: Layout) -> None:
        self._model, self._sent, self._received = bytes_of(layout), 0, 0

    def send(self, n_clients: int) -> None:
        """Begins a round, which sends the model to so many clients."""
        self._sent, self._received = n_clients * self._model, 0

    def receive(self, reply: ClientReply) -> None:
        """Counts what a client sent, whatever the guard will say of it."""
        self._received += sum(getattr(array, "nbytes", 0) for array in (reply.arrays or {}).values())

    def counted(self) -> dict[str, int]:
        """Returns the bytes of the round so far."""
        return {"sent": self._sent, "received": self._received}


def reset_peak() -> None:
    """Forgets this process's peak memory so far, where the system can: an earlier run's is none of this one's."""
    with contextlib.suppress(OSError):
        CLEAR.write_text("5")


def peak_memory_mb() -> float:
    """Returns this process's peak resident memory, since `reset_peak` where that works; workers have their own."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(STATUS.read_text().partition("VmHWM:")[2].split()[0]) / 1e3
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def costs(rounds: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Returns what the recorded ``rounds`` cost together: bytes, ``seconds_STAGE`` and the highest peak of memory."""
    found: Counter[str] = Counter()
    peak = 0.0
    for line in rounds:
        found.update({f"bytes_{way}": count for way, count in line.get("bytes", {}).items()})
        found.update({f"seconds_{stage}": seconds for stage, seconds in line.get("seconds", {}).items()})
        peak = max(peak, line.get("peak_memory_mb", 0.0))
    totals: dict[str, float] = {name: round(value, 3) for name, value in found.items()}
    return {**totals, "peak_memory_mb": round(peak, 1)} if peak else totals
