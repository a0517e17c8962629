"""What Ctrl-C and SIGTERM do to a run."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def stoppable() -> Iterator[threading.Event]:
    """Yields an event that the first Ctrl-C or SIGTERM sets; the second Ctrl-C interrupts at once."""
    stop = threading.Event()

    def ask(*_: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    with _handled(ask):
        yield stop


@contextlib.contextmanager
def interruptible(stop: threading.Event) -> Iterator[None]:
    """Lets the first Ctrl-C or SIGTERM end its block at once, for work that a resumed run does again as a whole.

    Raises:
        Stopped: it came, or had come before (``stop``).
    """
    from hauberk.server.round import Stopped

    def leave(*_: object) -> None:
        raise Stopped

    with _handled(leave):
        if stop.is_set():
            raise Stopped
        yield


@contextlib.contextmanager
def _handled(handler: Callable[..., Any]) -> Iterator[None]:
    """Handles both signals within its block; only a main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
