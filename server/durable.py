"""Files that outlive a power cut: written whole or not at all, and on the disk when the call returns."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, blob: bytes) -> None:
    """Writes a file under a temporary name, flushes it to the disk and renames it: a reader sees all of it or none.

    One process at a time: what a killed one left half-written is written over.
    """
    temporary = path.with_name(f".{path.name}.part")
    with temporary.open("wb") as file:
        file.write(blob)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def append_line(path: Path, line: str) -> None:
    """Appends ``line`` to a text file and flushes it to the disk."""
    with path.open("a", encoding="utf8") as file:
        file.write(f"{line}\n")
        file.flush()
        os.fsync(file.fileno())


def make_folder(path: Path) -> None:
    """Creates a folder and those above it, where they are missing."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in reversed(missing):
        sync_folder(folder.parent)


def sync_folder(path: Path) -> None:
    """Flushes a folder's entries to the disk: without it, a file that was just made or renamed can be gone."""
    if os.name != "posix":  # elsewhere a folder cannot be opened
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
