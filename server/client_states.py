"""What clients want back in their next round: on the disk once it is checkpointed, one file a client and change.

A client's state can be as large as the model. So a round writes the states that it changed, reads those of the clients
that it asks, and holds no others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from hauberk.server.durable import make_folder, write_whole
from hauberk.tasks.errors import UserError
from hauberk.tasks.tensor_tree import put_tensors, take_tensors

FOLDER = "clients"
WRITERS = 16  # files that are flushed to the disk at once

ClientState = dict[str, Any]


class Place(NamedTuple):
    """What a checkpoint knows of one client's state: the round that changed it, and the file's size and digest."""

    round: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Stored:
    """A state on the disk."""

    folder: Path
    client_id: int
    place: Place

    @property
    def path(self) -> Path:
        """Where it is."""
        return path_of(self.folder, self.client_id, self.place.round)

    def read(self) -> ClientState:
        """Returns the state; raises UserError where it is damaged."""
        try:
            blob = self.path.read_bytes()
            if hashlib.sha256(blob).hexdigest() != self.place.sha256:
                raise ValueError("its digest is not the recorded one")
            with safe_open(self.path, "pt") as file:
                skeleton = json.loads(file.metadata()["tree"])
            return dict(put_tensors(skeleton, load_tensors(blob)))
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"{self.path}: the state of client {self.client_id} is damaged: {reason}"
            ) from None


class ClientStates(Mapping[int, ClientState]):
    """Each client's state by client id; those on the disk are read when they are asked for, each time anew."""

    def __init__(self, states: Mapping[int, ClientState | Stored] | None = None) -> None:
        if isinstance(states, ClientStates):
            states = states._entries
        self._entries: dict[int, ClientState | Stored] = dict(states or {})

    def __getitem__(self, client_id: int) -> ClientState:
        """Returns a client's state."""
        entry = self._entries[client_id]
        return entry.read() if isinstance(entry, Stored) else entry

    def __iter__(self) -> Iterator[int]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, client_id: object) -> bool:
        return client_id in self._entries

    def changed(self, states: Mapping[int, ClientState]) -> ClientStates:
        """Returns these states with others in the place of some; none is read."""
        return ClientStates({**self._entries, **states})

    def store(self, folder: Path, number: int) -> dict[int, Place]:
        """Writes what is not in ``folder`` yet, as of round ``number``, and lets go of it; returns where all are."""
        fresh = [
            client_id
            for client_id, entry in self._entries.items()
            if not (isinstance(entry, Stored) and entry.folder == folder)
        ]
        if fresh:
            make_folder(folder / FOLDER)
            with ThreadPoolExecutor(min(WRITERS, len(fresh))) as pool:
                places = pool.map(lambda one: write(folder, one, number, self[one]), fresh)
                for client_id, place in zip(fresh, places, strict=True):
                    self._entries[client_id] = Stored(folder, client_id, place)
        return {one: entry.place for one, entry in self._entries.items() if isinstance(entry, Stored)}


def stored(folder: Path, places: Mapping[int, Place]) -> ClientStates:
    """Returns the states that a checkpoint in ``folder`` names; raises UserError where a file is not there whole."""
    entries = {client_id: Stored(folder, client_id, place) for client_id, place in places.items()}
    for one in entries.values():
        size = one.path.stat().st_size if one.path.exists() else None
        if size != one.place.bytes:
            what = "missing" if size is None else f"cut short, {size} of {one.place.bytes} bytes"
            raise UserError(f"{one.path}: the state of client {one.client_id} is {what}")
    return ClientStates(entries)


def path_of(folder: Path, client_id: int, number: int) -> Path:
    """Returns where the state is that round ``number`` left of a client."""
    return folder / FOLDER / f"{client_id}-{number:04d}.safetensors"


def write(folder: Path, client_id: int, number: int, state: ClientState) -> Place:
    """Writes one client's state and returns what says whether it is whole."""
    tensors: dict[str, Tensor] = {}
    skeleton = take_tensors(dict(state), tensors)
    blob = save_tensors(tensors, {"tree": json.dumps(skeleton, allow_nan=False)})
    write_whole(path_of(folder, client_id, number), blob)
    return Place(number, len(blob), hashlib.sha256(blob).hexdigest())
