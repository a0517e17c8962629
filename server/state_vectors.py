"""The large vectors of a rule's state: each a file of its own beside the checkpoints, named by its digest.

A rule that remembers a vector of the model's size for each client keeps it under a name with ``vector/`` in front, and
replaces it where it changes. So a checkpoint writes those alone that changed, and what is read back is mapped into
memory: the system reads a page when it is needed, and lets it go when there is no room.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from hauberk.server.durable import make_folder, write_whole
from hauberk.strategies.mapped import VECTOR
from hauberk.tasks.errors import UserError

FOLDER = "vectors"
WRITERS = 8  # files that are flushed to the disk at once


class Place(NamedTuple):
    """Where a vector is: the digest of its file, which names it, and the file's size."""

    sha256: str
    bytes: int


_written = WeakTensorKeyDictionary()  # the place of each living vector that was written or read


def split(state: Any) -> tuple[Any, dict[str, Tensor]]:
    """Returns a rule's state without its large vectors, and these by name."""
    if not isinstance(state, dict):
        return state, {}
    vectors = {name: value for name, value in state.items() if name.startswith(VECTOR)}
    return {name: value for name, value in state.items() if name not in vectors}, vectors


def store(folder: Path, vectors: Mapping[str, Tensor]) -> dict[str, Place]:
    """Writes those of ``vectors`` that are not in ``folder`` yet and returns where all are, by name."""
    if not vectors:
        return {}
    make_folder(folder / FOLDER)
    claims = _Claims()
    with ThreadPoolExecutor(WRITERS) as pool:
        places = pool.map(lambda vector: _store(folder, vector, claims), vectors.values())
        return dict(zip(vectors, places, strict=True))


class _Claims:
    """Which thread writes which file: equal vectors are one file."""

    def __init__(self) -> None:
        self._lock, self._taken = Lock(), set[str]()

    def first(self, name: str) -> bool:
        """Returns whether nobody has asked for ``name`` before."""
        with self._lock:
            is_new = name not in self._taken
            self._taken.add(name)
            return is_new


def _store(folder: Path, vector: Tensor, claims: _Claims) -> Place:
    place: Place | None = _written.get(vector)
    if place is None or not path_of(folder, place).exists():
        blob = save({"vector": vector.contiguous()})
        place = Place(hashlib.sha256(blob).hexdigest(), len(blob))
        if claims.first(place.sha256) and not path_of(folder, place).exists():
            write_whole(path_of(folder, place), blob)
        _written[vector] = place
    return place


def path_of(folder: Path, place: Place) -> Path:
    """Returns where a vector is."""
    return folder / FOLDER / f"{place.sha256}.safetensors"


def read(folder: Path, places: Mapping[str, Place]) -> dict[str, Tensor]:
    """Returns the vectors at ``places``, mapped into memory; raises UserError where one is not there whole."""
    return {name: _read(folder, place) for name, place in places.items()}


def _read(folder: Path, place: Place) -> Tensor:
    path = path_of(folder, place)
    try:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != place.sha256:
                raise UserError(
                    f"{path}: a vector of the rule's state is damaged, its digest is not its name"
                )
        with safe_open(path, "pt") as opened:
            vector: Tensor = opened.get_tensor("vector")
    except FileNotFoundError:
        raise UserError(f"{path}: a vector of the rule's state is missing") from None
    except SafetensorError as error:
        raise UserError(f"{path}: a vector of the rule's state is damaged: {error}") from None
    _written[vector] = place
    return vector
