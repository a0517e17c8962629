"""Checkpoints: tensors as safetensors, everything else as JSON, written whole or not at all, never pickle.

``state-0007.safetensors`` and ``state-0007.json`` belong together; the JSON is written last, carries the size and
digest of the tensors, and makes the checkpoint count. The one before stays, so that a damaged file costs one round.
What clients left with the server is beside them, see `client_states`: a checkpoint names a file for each client. So are
the large vectors of a rule, see `state_vectors`; a checkpoint that names some has format 4.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from hauberk.server import client_states, state_vectors
from hauberk.server.client_states import ClientStates
from hauberk.server.durable import make_folder, write_whole
from hauberk.server.state import ServerState
from hauberk.tasks.errors import UserError
from hauberk.tasks.tensor_tree import put_tensors, take_tensors

REPAIRED = "repaired"  # the folder, beside "checkpoint", of the model after the repairs at the end
KEPT = 2
NAME = re.compile(r"state-(\d{4}|[1-9]\d{4,})\.json")


class _About(BaseModel):
    """What the JSON of a checkpoint holds; ``identity`` says of which run."""

    model_config = ConfigDict(extra="forbid", strict=True)

    format: Literal[2, 3, 4]
    round: int = Field(ge=0)
    identity: dict[str, str]
    bytes: int = Field(ge=0)
    sha256: str
    tree: Any
    clients: dict[int, tuple[int, int, str]] = {}  # before format 3 they were in the tree
    record: str | None = None
    vectors: dict[str, tuple[str, int]] = {}


def save(folder: Path, state: ServerState, identity: Mapping[str, str], record: str | None = None) -> None:
    """Writes ``state`` of the run ``identity`` into ``folder`` and drops all but the newest checkpoints.

    ``record`` is what else is to be known of its round, should there be no time to write it anywhere else.
    """
    make_folder(folder)
    tensors: dict[str, Tensor] = {"parameters": state.parameters}
    remembered, vectors = state_vectors.split(state.aggregator)
    skeleton = take_tensors({"aggregator": remembered}, tensors)
    kept = state_vectors.store(folder, vectors)
    places = state.client_states.store(folder, state.round)
    blob = save_tensors(tensors)
    about = _About(
        format=4 if kept else 3,
        round=state.round,
        identity=dict(identity),
        bytes=len(blob),
        sha256=hashlib.sha256(blob).hexdigest(),
        tree=skeleton,
        clients={client_id: (place.round, place.bytes, place.sha256) for client_id, place in places.items()},
        record=record,
        vectors={key: (place.sha256, place.bytes) for key, place in kept.items()},
    )
    name = f"state-{state.round:04d}"
    write_whole(folder / f"{name}.safetensors", blob)
    fields = {key: value for key, value in about if key != "vectors" or kept}
    write_whole(folder / f"{name}.json", json.dumps(fields, allow_nan=False).encode())
    _drop(_found(folder))


def _drop(found: list[Path]) -> None:
    """Removes all checkpoints but the newest, and the files beside them that these do not name."""
    kept: set[Path] = set()
    for path in reversed(found):
        named = _files_beside(path)
        if path in found[-KEPT:]:
            kept |= named
            continue
        path.unlink()
        path.with_suffix(".safetensors").unlink(missing_ok=True)
        for file in named - kept:
            file.unlink(missing_ok=True)


def _files_beside(path: Path) -> set[Path]:
    """Returns the files that a checkpoint names, as far as it can be read."""
    try:
        about, folder = json.loads(path.read_bytes()), path.parent
        vectors = about.get("vectors", {}).values()
        return {
            *(
                client_states.path_of(folder, int(key), int(place[0]))
                for key, place in about.get("clients", {}).items()
            ),
            *(state_vectors.path_of(folder, state_vectors.Place(*place)) for place in vectors),
        }
    except (ValueError, TypeError, AttributeError, IndexError, RecursionError):
        return set()


def load(folder: Path, identity: Mapping[str, str], *, at_most: int | None = None) -> ServerState | None:
    """Returns the newest checkpoint of ``folder``, or the newest up to round ``at_most``; None where there is none.

    Raises:
        UserError: this checkpoint is damaged, or belongs to another run than ``identity``.
    """
    found = [path for path in _found(folder) if at_most is None or _round_of(path) <= at_most]
    return _read(found[-1], identity) if found else None


def record_in(folder: Path) -> str | None:
    """Returns the record in the newest checkpoint of ``folder``; raises UserError if that is damaged."""
    found = _found(folder)
    return _read_about(found[-1], _advice(found[-1])).record if found else None


def differences(recorded: Mapping[str, str], own: Mapping[str, str]) -> str:
    """Returns in what a recorded run is another one than ``own``, both values each; empty where in nothing."""
    different = [key for key in own if recorded.get(key) != own[key]]
    return " and ".join(
        f"another {key} ({_short(recorded.get(key, 'unrecorded'))}, not {_short(own[key])})"
        for key in different
    )


def _short(value: str) -> str:
    return value[:8] if re.fullmatch(r"[0-9a-f]{64}", value) else value


def _read(path: Path, identity: Mapping[str, str]) -> ServerState:
    advice = _advice(path)
    about = _read_about(path, advice)
    if other := differences(about.identity, identity):
        raise UserError(f"{path}: the checkpoint belongs to {other}")
    tensors = _read_tensors(path.with_suffix(".safetensors"), about, advice)
    try:
        tree, parameters = put_tensors(about.tree, tensors), tensors["parameters"]
        clients = _clients_of(about, tree, path.parent)
        if (parameters.dtype, parameters.dim()) != (torch.float32, 1):
            raise ValueError("no vector of float32")
        remembered = tree["aggregator"]
        if about.vectors:
            places = {key: state_vectors.Place(*place) for key, place in about.vectors.items()}
            remembered |= state_vectors.read(path.parent, places)
        return ServerState(about.round, parameters, remembered, clients)
    except UserError as error:
        raise UserError(f"{error}; {advice}") from None
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UserError(
            f"{path}: the checkpoint is damaged, its tree does not fit its tensors; {advice}"
        ) from None


def _clients_of(about: _About, tree: Any, folder: Path) -> ClientStates:
    if about.format == 2:
        return ClientStates({int(key): dict(value) for key, value in tree["clients"].items()})
    return client_states.stored(
        folder, {one: client_states.Place(*place) for one, place in about.clients.items()}
    )


def _advice(path: Path) -> str:
    return f"delete {path.stem}.* to resume from the checkpoint before"


def _read_about(path: Path, advice: str) -> _About:
    try:
        about = _About.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        if first["type"] == "literal_error":  # the format
            raise UserError(
                f"{path}: the checkpoint has format {first['input']!r}, this hauberk reads 2 to 4"
            ) from None
        reason = f"{where}: {first['msg']}" if where else first["msg"]
        raise UserError(f"{path}: the checkpoint is cut short or damaged ({reason}); {advice}") from None
    if path != _path(path.parent, about.round):
        raise UserError(
            f"{path}: the checkpoint is damaged, it says that it is of round {about.round}; {advice}"
        )
    return about


def _read_tensors(path: Path, about: _About, advice: str) -> dict[str, Tensor]:
    try:
        size = path.stat().st_size
        if size != about.bytes:
            raise UserError(f"{path}: the checkpoint is cut short, {size} of {about.bytes} bytes; {advice}")
        blob = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: the tensors of the checkpoint are missing; {advice}") from None
    if hashlib.sha256(blob).hexdigest() != about.sha256:
        raise UserError(f"{path}: the checkpoint is damaged, its digest is not the recorded one; {advice}")
    try:
        return load_tensors(blob)
    except SafetensorError as error:
        raise UserError(f"{path}: the checkpoint is damaged: {error}; {advice}") from None


def _path(folder: Path, number: int) -> Path:
    return folder / f"state-{number:04d}.json"


def _found(folder: Path) -> list[Path]:
    """Returns the checkpoints of ``folder``, the newest last; a stray copy of a file is none."""
    paths = [path for path in folder.glob("state-*.json") if NAME.fullmatch(path.name)]
    return sorted(paths, key=_round_of)


def _round_of(path: Path) -> int:
    return int(path.stem.removeprefix("state-"))
