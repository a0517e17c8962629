"""Checkpoints: tensors as safetensors, everything else as JSON, written whole or not at all, never pickle.

``state-0007.safetensors`` and ``state-0007.json`` belong together; the JSON is written last, carries the size and
digest of the tensors, and makes the checkpoint count. The one before stays, so that a damaged file costs one round.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from hauberk.server.state import ServerState
from hauberk.tasks.errors import UserError
from hauberk.tasks.tensor_tree import put_tensors, take_tensors

FORMAT = 1
REPAIRED = "repaired"  # the folder, beside "checkpoint", of the model after the repairs at the end
KEPT = 2


def save(folder: Path, state: ServerState, spec_hash: str) -> None:
    """Writes ``state`` into ``folder`` and drops all but the newest checkpoints."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {"parameters": state.parameters}
    tree = {"aggregator": state.aggregator, "clients": {str(k): v for k, v in state.clients.items()}}
    skeleton = take_tensors(tree, tensors)
    blob = save_tensors(tensors)
    name = f"state-{state.round:04d}"
    write_whole(folder / f"{name}.safetensors", blob)
    about = {
        "format": FORMAT,
        "round": state.round,
        "spec_hash": spec_hash,
        "bytes": len(blob),
        "sha256": hashlib.sha256(blob).hexdigest(),
        "tree": skeleton,
    }
    write_whole(folder / f"{name}.json", json.dumps(about).encode())
    for old in _found(folder)[:-KEPT]:
        old.unlink()
        old.with_suffix(".safetensors").unlink(missing_ok=True)


def load(folder: Path, spec_hash: str) -> ServerState | None:
    """Returns the newest checkpoint of ``folder``; None where there is none.

    Raises:
        UserError: the newest checkpoint is damaged, or belongs to another spec.
    """
    found = _found(folder)
    return _read(found[-1], spec_hash) if found else None


def _read(path: Path, spec_hash: str) -> ServerState:
    advice = f"delete {path.stem}.* to resume from the checkpoint before"
    try:
        about = json.loads(path.read_bytes())
        name, n_bytes, sha256 = path.with_suffix(".safetensors"), about["bytes"], about["sha256"]
        blob = name.read_bytes()
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        raise UserError(f"{path}: the checkpoint is cut short or damaged; {advice}") from None
    except FileNotFoundError:
        raise UserError(f"{path}: its tensors are missing; {advice}") from None
    if len(blob) != n_bytes:
        raise UserError(f"{name}: the checkpoint is cut short, {len(blob)} of {n_bytes} bytes; {advice}")
    if hashlib.sha256(blob).hexdigest() != sha256:
        raise UserError(f"{name}: the checkpoint is damaged, its digest is not the recorded one; {advice}")
    if about["spec_hash"] != spec_hash:
        raise UserError(
            f"{path}: the checkpoint belongs to another spec ({about['spec_hash'][:8]}, not {spec_hash[:8]})"
        )
    tensors = load_tensors(blob)
    tree = put_tensors(about["tree"], tensors)
    clients = {int(key): value for key, value in tree["clients"].items()}
    return ServerState(about["round"], tensors["parameters"], tree["aggregator"], clients)


def write_whole(path: Path, blob: bytes) -> None:
    """Writes a file under a temporary name, flushes it to the disk and renames it: a reader sees all of it or none."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(blob)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _found(folder: Path) -> list[Path]:
    key: Callable[[Path], int] = lambda path: int(path.stem.removeprefix("state-"))  # noqa: E731
    return sorted(folder.glob("state-[0-9]*.json"), key=key)
