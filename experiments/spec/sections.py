"""The sections of an experiment file, each a pydantic model with the defaults of what a user leaves out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from hauberk.attacks import FORGES, POISONS, SCHEDULES, TAMPERS
from hauberk.clients.optimizers import OPTIMIZERS
from hauberk.clients.plugins import PLUGINS
from hauberk.experiments.spec.components import Component, normalise, table_of
from hauberk.experiments.spec.registry import aggregators
from hauberk.server.detectors import DETECTORS
from hauberk.server.repairs import REPAIRS
from hauberk.strategies import PRE_AGGREGATORS
from hauberk.tasks import TASKS
from hauberk.tasks.partition import PARTITIONS
from hauberk.tasks.text.datasets import DATASETS
from hauberk.tasks.text.models import MODELS


def named(table: Mapping[str, type], default: str | None = None) -> Callable[[Any], Component]:
    """Returns a validator for one component of ``table``."""
    return lambda raw: normalise(raw, table, default=default)


def named_list(table: Mapping[str, type]) -> Callable[[Any], list[Component]]:
    """Returns a validator for a list of components of ``table``; all mistakes come at once, each with its component."""

    def validate(raw: Any) -> list[Component]:
        if not isinstance(raw, list):
            raise ValueError(f"must be a list of names or tables, got {raw!r}")
        found: list[Component] = []
        problems: list[str] = []
        for item in raw:
            try:
                found.append(normalise(item, table))
            except ValueError as error:
                problems += [_of(item, table) + line for line in str(error).splitlines()]
        if problems:
            raise ValueError("\n".join(problems))
        return found

    return validate


def _of(item: Any, table: Mapping[str, type]) -> str:
    """Returns the prefix by which a mistake says in which component it is."""
    name = item.get("name") if isinstance(item, Mapping) else None
    return f"{name}." if name in table else ""


class Section(BaseModel):
    """What all sections share: unknown keys are mistakes, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class TaskSection(Section):
    """What is learned."""

    name: Literal[tuple(TASKS)] = "text_classification"  # type: ignore[valid-type]
    dataset: Annotated[Component, BeforeValidator(named(DATASETS))]
    model: Annotated[Component, BeforeValidator(named(MODELS))]
    max_length: int = Field(64, ge=1)
    validation: float = Field(0.1, ge=0, lt=1)
    n_train: int | None = Field(None, ge=1)


class FederationSection(Section):
    """Who takes part."""

    n_clients: int = Field(ge=1)
    n_malicious: int = Field(0, ge=0)
    rounds: int = Field(ge=1)
    clients_per_round: int | None = Field(None, ge=1)
    partition: Annotated[Component, BeforeValidator(named(PARTITIONS, "iid"))] = {"name": "iid"}

    @model_validator(mode="after")
    def _numbers_fit(self) -> FederationSection:
        if self.n_malicious > self.n_clients:
            raise ValueError(
                f"n_malicious must not exceed n_clients, got n_malicious={self.n_malicious} "
                f"and n_clients={self.n_clients}"
            )
        if (self.clients_per_round or 1) > self.n_clients:
            raise ValueError(
                f"clients_per_round must not exceed n_clients, got clients_per_round={self.clients_per_round} "
                f"and n_clients={self.n_clients}"
            )
        return self

    @property
    def cohort_size(self) -> int:
        """How many clients a round asks."""
        return self.clients_per_round or self.n_clients


class TrainingSection(Section):
    """How a client trains."""

    epochs: int = Field(1, ge=1)
    batch_size: int = Field(32, ge=1)
    optimizer: Annotated[Component, BeforeValidator(named(OPTIMIZERS, "adam"))] = {"name": "adam", "lr": 1e-3}
    precision: Literal["float32", "bfloat16"] = "float32"
    plugins: Annotated[list[Component], BeforeValidator(named_list(PLUGINS))] = []


class AttackSection(Section):
    """What the malicious clients do."""

    poison: Annotated[Component, BeforeValidator(named(POISONS))] | None = None
    tamper: Annotated[Component, BeforeValidator(named(TAMPERS))] | None = None
    forge: Annotated[Component, BeforeValidator(named(FORGES))] | None = None
    keep_plugins: bool = False
    schedule: Annotated[Component, BeforeValidator(named(SCHEDULES, "always"))] = {"name": "always"}


class AggregatorSection(BaseModel):
    """How updates become one update: ``name``, ``n_malicious``, ``before``, and the rule's own parameters beside them.

    ``n_malicious`` is accepted for every rule and used by those that assume a number of liars, so that one file serves
    a comparison of rules.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str
    n_malicious: int = Field(1, ge=0)
    before: list[Component] = []

    @model_validator(mode="before")
    @classmethod
    def _resolve(cls, raw: Any) -> Any:
        raw = table_of(raw)
        n_malicious = raw.pop("n_malicious", 1)
        if not isinstance(n_malicious, int) or isinstance(n_malicious, bool):
            raise ValueError(f"n_malicious: input should be a valid integer, got {n_malicious!r}")
        shared = {"n_malicious": n_malicious}
        before = [normalise(item, PRE_AGGREGATORS, shared) for item in raw.pop("before", [])]
        return {**normalise(raw, aggregators(), shared), "n_malicious": n_malicious, "before": before}


class CleanSection(Section):
    """The server's own clean examples, drawn apart from every client's data and from the test split."""

    n_examples: int = Field(0, ge=0)


class ServerSection(Section):
    """What the server has, how it computes, and the rounds whose updates it keeps on disk."""

    clean: CleanSection = CleanSection(n_examples=0)
    threads: int = Field(1, ge=1)
    keep_updates: list[int] = []


class EngineSection(Section):
    """Where the clients run."""

    name: Literal["ray", "inline"] = "ray"
    workers: int | None = Field(None, ge=1)
    threads_per_client: int = Field(1, ge=1)
    client_timeout_s: float = Field(600, gt=0)


Repairs = Annotated[list[Component], BeforeValidator(named_list(REPAIRS))]
Detectors = Annotated[list[Component], BeforeValidator(named_list(DETECTORS))]
