"""What a client's owner allows, whatever the server asks: checked on the client's own machine, before it trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from hauberk.clients.optimizers import OPTIMIZERS
from hauberk.clients.plugins import PLUGINS
from hauberk.clients.settings import Training
from hauberk.tasks.errors import UserError


class Forbidden(UserError):
    """The server asks for what this client does not do."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What an honest client refuses.

    Args:
        max_epochs: the most passes over its data in a round; None for any number.
        max_batch_size: the most texts a step.
        max_seconds: after how long a round's training is ended; None for never.
        max_memory_gb: how much memory a round may take beside what the process has; None for any.
        optimizers: which it trains with; None for any.
        plugins: the plugins that it runs; None for all there are.
        required: plugins without which it does not train, each with the settings that must be as here.
    """

    max_epochs: int | None = None
    max_batch_size: int | None = None
    max_seconds: float | None = 3600.0
    max_memory_gb: float | None = None
    optimizers: tuple[str, ...] | None = None
    plugins: tuple[str, ...] | None = None
    required: tuple[dict[str, Any], ...] = field(default=())

    def __post_init__(self) -> None:
        """Refuses a policy that nobody can keep to."""
        for key in ("max_epochs", "max_batch_size", "max_seconds", "max_memory_gb"):
            if (limit := getattr(self, key)) is not None and not limit > 0:
                raise UserError(f"{key}: must be above 0, got {limit!r}")
        wanted = [each.get("name") for each in self.required]
        for key, names, table in (
            ("optimizers", self.optimizers or (), OPTIMIZERS),
            ("plugins", self.plugins or (), PLUGINS),
            ("required", wanted, PLUGINS),
        ):
            for name in names:
                if name not in table:
                    raise UserError(f"{key}: unknown name {name!r}; known: {', '.join(sorted(table))}")

    def check(self, training: Training) -> None:
        """Raises Forbidden where ``training`` is more than is allowed, in one line with the rule and both sides."""
        for key in ("epochs", "batch_size"):
            most, asked = getattr(self, f"max_{key}"), getattr(training, key)
            if most is not None and asked > most:
                raise Forbidden(f"policy.max_{key}: at most {most} here, the server asks for {asked}")
        plugins = {_name(each, PLUGINS): asdict(each) for each in training.plugins}
        self._check_names("optimizers", [_name(training.optimizer, OPTIMIZERS)], self.optimizers)
        self._check_names("plugins", list(plugins), self.plugins)
        for wanted in self.required:
            self._check_required(wanted, plugins)

    def _check_names(self, key: str, asked: list[str], allowed: tuple[str, ...] | None) -> None:
        for name in asked:
            if allowed is not None and name not in allowed:
                known = ", ".join(allowed) or "none"
                raise Forbidden(f"policy.{key}: allowed here are {known}, the server asks for {name}")

    def _check_required(self, wanted: Mapping[str, Any], plugins: Mapping[str, Mapping[str, Any]]) -> None:
        name = wanted["name"]
        if name not in plugins:
            others = ", ".join(plugins) or "none"
            raise Forbidden(f"policy.required: {name} must run here, the server asks for {others}")
        for key, value in wanted.items():
            if key != "name" and plugins[name].get(key) != value:
                raise Forbidden(
                    f"policy.required: {name}.{key} must be {value!r} here, the server asks for "
                    f"{plugins[name].get(key)!r}"
                )


def _name(instance: Any, table: Mapping[str, type]) -> str:
    return next(name for name, cls in table.items() if cls is type(instance))
