"""What one machine of a deployment holds: a client its own examples, the server its test split and clean examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from hauberk.experiments.deploy.folder import CLIENT, SERVER, Part
from hauberk.experiments.runner.data import Data, data_of
from hauberk.experiments.spec.components import build, normalise
from hauberk.experiments.spec.loader import Spec
from hauberk.tasks.base import TaskSplits
from hauberk.tasks.errors import UserError
from hauberk.tasks.partition import partition
from hauberk.tasks.text.examples import Splits
from hauberk.tasks.text.own_data import OWN_DATA, own_examples

SHARED, PARTITION = "shared", "partition"  # of the experiment's own data set, for trials


@dataclass(frozen=True, eq=False)
class ServerData(Data):
    """The server's data: nobody's training examples.

    Args:
        held: its test split and the classes' names.
        clean: its own clean examples.
    """

    federated: ClassVar[bool] = True
    held: TaskSplits[Any]
    clean: tuple[Any, ...]

    @cached_property
    def splits(self) -> Any:
        """The test split; the training split is what the server has of its own."""
        return self.held

    @cached_property
    def drawn(self) -> tuple[list[Any], list[Any]]:
        """No pool, and the server's own clean examples."""
        return [], list(self.clean)

    @cached_property
    def train(self) -> Any:
        """Nothing, encoded."""
        return self.bound.encode(self.held.test[:1]).take([])


def server_data(part: Part, spec: Spec) -> ServerData:
    """Returns what the server holds.

    Raises:
        UserError: a file is missing or odd, or there are too few clean examples.
    """
    settings, wanted = part.server_file().data, spec.server.clean.n_examples
    if settings.get("name") == SHARED:
        data = data_of(spec)
        held = replace(_loaded(part, data), train=tuple(data.drawn[1]), validation=())
        _check_labels(part, SERVER, held.labels)
    else:
        _check_text(part, spec)
        labels = tuple(part.about.labels)
        test = _examples(part, SERVER, "data.test", settings.get("test"), labels)
        clean = _examples(part, SERVER, "data.clean", settings["clean"], labels) if wanted else ()
        if len(clean) < wanted:
            raise UserError(
                f"{part.path / SERVER}: data.clean holds {len(clean)} examples, and server.clean.n_examples = {wanted}"
            )
        held = Splits(train=clean, validation=(), test=tuple(test), labels=labels)
    return ServerData(spec.parts.task, spec.seed, wanted, held, held.train[:wanted])


def client_examples(part: Part, spec: Spec) -> TaskSplits[Any]:
    """Returns the examples of a client's own, as a training split.

    Raises:
        UserError: there are none, or they have other labels than those agreed on.
    """
    settings, labels = part.client_file().data, tuple(part.about.labels)
    if settings.get("name") == PARTITION:
        data, parts = deal(spec)
        _check_labels(part, CLIENT, data.splits.labels)
        return replace(data.splits, train=parts[part.about.client or 0], validation=(), test=())
    _check_text(part, spec)
    examples = _examples(part, CLIENT, "data", settings, labels)
    return Splits(train=tuple(examples), validation=(), test=(), labels=labels)


def deal(spec: Spec) -> tuple[Data, list[tuple[Any, ...]]]:
    """Returns the experiment's own data, and each client's examples as a run in one process deals them."""
    data = data_of(spec)
    keys, pool = data.bound.partition_keys(data.train), data.drawn[0]
    parts = partition(keys, spec.federation.n_clients, spec.parts.partition, spec.seed)
    return data, [tuple(pool[row] for row in rows) for rows in parts]


def _loaded(part: Part, data: Data) -> Any:
    """Returns the experiment's own data set; what to do instead is said where this machine has it not."""
    try:
        return data.splits
    except UserError as error:
        own = 'or name a test split of the server\'s own: test = { name = "file", path = "..." }'
        raise UserError(f"{part.path / SERVER}: data: {str(error).rstrip('.')}; {own}") from None


def _check_labels(part: Part, file: str, labels: Sequence[str]) -> None:
    if list(labels) != part.about.labels:
        raise UserError(
            f"{part.path / file}: the data set's classes are {', '.join(labels)}, and those agreed on are "
            f"{', '.join(part.about.labels)}"
        )


def _check_text(part: Part, spec: Spec) -> None:
    modality = spec.parts.task.modality
    if modality != "text":
        raise UserError(f"{part.path}: files of one's own are for tasks of text, and this one has {modality}")


def _examples(part: Part, file: str, key: str, raw: Any, labels: Sequence[str]) -> tuple[Any, ...]:
    where = f"{part.path / file}: {key}"
    try:
        if not isinstance(raw, Mapping):
            raise UserError(f'missing; name a file: {key} = {{ name = "file", path = "..." }}')
        data = build(normalise(raw, OWN_DATA), OWN_DATA)
        return own_examples(data, Path(part.path), labels)
    except ValueError as error:
        raise UserError(f"{where}: {'; '.join(str(error).splitlines())}") from None
