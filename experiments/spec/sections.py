"""The sections of an experiment file, each a pydantic model with the defaults of what a user leaves out."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hauberk.attacks import FORGES, POISONS, SCHEDULES, TAMPERS
from hauberk.clients.optimizers import OPTIMIZERS
from hauberk.clients.plugins import PLUGINS
from hauberk.experiments.spec.component_schema import one_of
from hauberk.experiments.spec.components import Component, below, normalise, table_of
from hauberk.experiments.spec.named import Named, NamedList, attempt, normalise_list
from hauberk.experiments.spec.registry import aggregators
from hauberk.experiments.tracking import TRACKERS
from hauberk.server.detectors import DETECTORS
from hauberk.server.repairs import REPAIRS
from hauberk.strategies import PRE_AGGREGATORS, Guard
from hauberk.tasks.partition import PARTITIONS


class Section(BaseModel):
    """What all sections share: unknown keys are mistakes, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class FederationSection(Section):
    """Who takes part."""

    n_clients: int = Field(ge=1)
    n_malicious: int = Field(0, ge=0)
    rounds: int = Field(ge=1)
    clients_per_round: int | None = Field(None, ge=1)
    min_replies: int | None = Field(None, ge=1)  # a deployment's round waits for so many beyond its time
    partition: Annotated[Component, Named(PARTITIONS, "iid")] = {"name": "iid"}

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
        if (self.min_replies or 1) > self.cohort_size:
            raise ValueError(
                f"min_replies must not exceed the clients of a round, got min_replies={self.min_replies} "
                f"and {self.cohort_size} clients"
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
    optimizer: Annotated[Component, Named(OPTIMIZERS, "adam")] = {"name": "adam", "lr": 1e-3}
    precision: Literal["float32", "bfloat16"] = "float32"
    plugins: Annotated[list[Component], NamedList(PLUGINS)] = []


class AttackSection(Section):
    """What the malicious clients do."""

    poison: Annotated[Component, Named(POISONS)] | None = None
    tamper: Annotated[Component, Named(TAMPERS)] | None = None
    forge: Annotated[Component, Named(FORGES)] | None = None
    scale: float = Field(1.0, gt=0, allow_inf_nan=False)
    keep_plugins: bool = False
    schedule: Annotated[Component, Named(SCHEDULES, "always")] = {"name": "always"}


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
        n_malicious, before = raw.pop("n_malicious", 1), raw.pop("before", [])
        if not isinstance(n_malicious, int) or isinstance(n_malicious, bool):
            raise ValueError(f"n_malicious: input should be a valid integer, got {n_malicious!r}")
        shared = {"n_malicious": n_malicious}
        rule, problems = attempt(normalise, raw, aggregators(), shared)
        stages, others = attempt(normalise_list, before, PRE_AGGREGATORS, shared)
        if problems or others:
            raise ValueError("\n".join([*problems, *(below("before", line) for line in others)]))
        return {**rule, "n_malicious": n_malicious, "before": stages}

    @classmethod
    def __get_pydantic_json_schema__(cls, *_: Any) -> dict[str, Any]:
        """Describes each rule with its own parameters."""
        given = ("n_malicious",)
        beside: dict[str, dict[str, Any]] = {
            "n_malicious": {"type": "integer", "minimum": 0, "default": 1},
            "before": {"type": "array", "items": one_of(PRE_AGGREGATORS, given=given), "default": []},
        }
        return one_of(aggregators().usable()[0], beside=beside, given=given)


class CleanSection(Section):
    """The server's own clean examples, drawn apart from every client's data and from the test split."""

    n_examples: int = Field(0, ge=0)


class GuardSection(Section):
    """What the server refuses in a reply."""

    max_examples: float = Field(Guard.max_examples, gt=0, allow_inf_nan=False)
    max_norm: float | None = Field(Guard.max_norm, gt=0, allow_inf_nan=False)
    max_size: float = Field(Guard.max_size, gt=0, allow_inf_nan=False)
    state_ratio: float = Field(Guard.state_ratio, ge=0, allow_inf_nan=False)
    report_keys: int = Field(Guard.report_keys, ge=0)


class ForensicsSection(Section):
    """How often the server measures how detectable the liars were, and how well they hid.

    ``every`` k: in rounds 1, 1 + k, 1 + 2k, ...; in the others it notes what the rule has measured anyway. 0: never.
    """

    every: int | None = Field(None, ge=0)

    def interval(self, cohort_size: int) -> int:
        """Returns ``every``, by default one round in ``cohort_size`` / 5: the cost grows with the cohort's square."""
        return max(1, cohort_size // 5) if self.every is None else self.every


class ServerSection(Section):
    """What the server has and refuses, how it computes, what it keeps, and whether an attack-free twin is played."""

    clean: CleanSection = CleanSection(n_examples=0)
    guard: GuardSection = GuardSection()
    threads: int = Field(1, ge=1)
    keep_updates: list[int] = []
    twin: bool = True
    forensics: ForensicsSection = ForensicsSection()
    evaluate_every: int = Field(1, ge=1)  # the model of every k-th round is measured, and the last


class EngineSection(Section):
    """Where the clients run, and how long one waits for them."""

    name: Literal["ray", "inline", "flower"] = "ray"
    workers: int | None = Field(None, ge=1)
    threads_per_client: int = Field(1, ge=1)
    client_timeout_s: float = Field(600, gt=0)
    round_timeout_s: float | None = Field(None, gt=0)  # of a deployment's round; by default client_timeout_s
    node_wait_s: float = Field(10, ge=0)  # until as many nodes of a Flower federation are there as clients


TrackingSection = Annotated[Component, Named(TRACKERS)]
Repairs = Annotated[list[Component], NamedList(REPAIRS)]
Detectors = Annotated[list[Component], NamedList(DETECTORS)]
