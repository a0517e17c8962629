"""Training settings as plain values: names from this package's own tables, never an import path from a peer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from hauberk.clients.optimizers import OPTIMIZERS
from hauberk.clients.plugins import PLUGINS
from hauberk.clients.settings import Training


def describe(training: Training) -> dict[str, Any]:
    """Returns ``training`` as JSON can hold it; `training_of` is its inverse."""
    return {
        "epochs": training.epochs,
        "batch_size": training.batch_size,
        "precision": training.precision,
        "optimizer": _named(training.optimizer, OPTIMIZERS),
        "plugins": [_named(plugin, PLUGINS) for plugin in training.plugins],
    }


def training_of(described: Mapping[str, Any]) -> Training:
    """Returns the training that ``described`` describes.

    Raises:
        KeyError, TypeError, UserError: it names what this client does not know.
    """
    plugins = tuple(_built(plugin, PLUGINS) for plugin in described["plugins"])
    return Training(
        **{**described, "optimizer": _built(described["optimizer"], OPTIMIZERS), "plugins": plugins}
    )


def _named(instance: Any, table: Mapping[str, type]) -> dict[str, Any]:
    name = next(name for name, cls in table.items() if cls is type(instance))
    return {"name": name, **asdict(instance)}


def _built(described: Mapping[str, Any], table: Mapping[str, type]) -> Any:
    parameters = dict(described)
    return table[parameters.pop("name")](**parameters)
