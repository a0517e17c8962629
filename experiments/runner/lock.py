"""One process writes a run's folder at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from hauberk.server.durable import make_folder
from hauberk.tasks.errors import UserError

NAME = ".lock"


class Locked(UserError):
    """Another process holds the folder."""


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Makes ``folder`` and holds it for a block; the system lets go of it, too, when the process is killed.

    A folder in which the block has left nothing is taken away again.

    Raises:
        Locked: another process holds it.
        UserError: it cannot be written.
    """
    path = folder / NAME
    lock = FileLock(path)
    try:
        make_folder(folder)
        lock.acquire(timeout=0)
        path.write_text(
            f"process {os.getpid()} on {socket.gethostname()}, since {datetime.now():%Y-%m-%d %H:%M:%S}"
        )
    except Timeout:
        raise Locked(
            f"{folder}: {_holder(path)}, writes this run now; wait for it, or choose another --out"
        ) from None
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror or error}") from None
    try:
        yield
    finally:
        path.unlink(
            missing_ok=True
        )  # before the release: who waits for it sees that it is gone, and makes a new one
        lock.release()
        with contextlib.suppress(OSError):
            folder.rmdir()


def is_locked(folder: Path) -> bool:
    """Returns whether a process holds ``folder`` now; what a killed one left there says nothing."""
    try:
        with (folder / NAME).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _holder(path: Path) -> str:
    try:
        return path.read_text(encoding="utf8").strip() or "another process"
    except OSError:
        return "another process"
