"""A round's updates on disk, for whoever wants to ask another rule later: safetensors + JSON, never pickle."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from hauberk.strategies.base import AggregationContext
from hauberk.strategies.layout import Layout, Slot
from hauberk.strategies.update_matrix import CollectedUpdates
from hauberk.tasks.errors import UserError


@dataclass(frozen=True, eq=False)
class KeptRound:
    """What the rule had before it in one round.

    Attributes:
        updates: the rows that passed the guard, shape [n_clients, n_params].
        context: what is known beside them.
        malicious: which of the clients lied.
    """

    updates: torch.Tensor
    context: AggregationContext
    malicious: tuple[int, ...]

    @property
    def mask(self) -> torch.Tensor:
        """Which rows are malicious, bool [n_clients]."""
        return torch.tensor([client in self.malicious for client in self.context.client_ids or ()])


def path_of(folder: Path, number: int) -> Path:
    """Returns where round ``number`` is kept."""
    return folder / "updates" / f"round-{number:04d}.safetensors"


def keep(
    folder: Path, collected: CollectedUpdates, context: AggregationContext, malicious: list[int]
) -> None:
    """Writes the rows of one round under its folder, whole or not at all."""
    path = path_of(folder, context.round)
    path.parent.mkdir(parents=True, exist_ok=True)
    layout = context.layout.slots if context.layout else ()
    about = {
        "client_ids": list(collected.client_ids),
        "n_examples": list(collected.n_examples),
        "malicious": malicious,
        "round": context.round,
        "layout": [[slot.name, slot.shape, slot.start, slot.stop, slot.dtype] for slot in layout],
    }
    tensors = {"updates": collected.updates, "parameters": context.parameters}
    if context.root_update is not None:
        tensors["root_update"] = context.root_update
    given = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    temporary = path.with_suffix(".part")
    save_file(given, temporary, {"about": json.dumps(about)})
    temporary.replace(path)


def read(folder: Path, number: int) -> KeptRound:
    """Returns a kept round.

    Raises:
        UserError: the run kept no updates of this round.
    """
    path = path_of(folder, number)
    if not path.exists():
        numbers = [
            int(found.stem.removeprefix("round-"))
            for found in sorted(path.parent.glob("round-*.safetensors"))
        ]
        kept = ", ".join(map(str, numbers))
        raise UserError(
            f"{folder}: kept no updates of round {number} (kept: {kept or 'none'}); "
            f"run it with --set server.keep_updates=[{number}]"
        )
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["about"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
    slots = tuple(
        Slot(name, tuple(shape), start, stop, dtype) for name, shape, start, stop, dtype in about["layout"]
    )
    context = AggregationContext(
        client_ids=tuple(about["client_ids"]),
        n_examples=tuple(about["n_examples"]),
        parameters=tensors["parameters"],
        layout=Layout(slots),
        root_update=tensors.get("root_update"),
        round=about["round"],
    )
    return KeptRound(tensors["updates"], context, tuple(about["malicious"]))
