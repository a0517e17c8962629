"""The contract of a repair: what the server does to the aggregated model, after some rounds or after the last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from hauberk.clients.settings import Training
from hauberk.strategies.layout import Layout
from hauberk.tasks.base import Task
from hauberk.tasks.errors import UserError

Report = dict[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Context:
    """What a repair has before it.

    Attributes:
        task: what is learned.
        model: an instance to compute with; its parameters are overwritten.
        layout: name, shape and slice of each tensor in the parameter vector.
        reference: the parameters before the first round, [n_params]: the pretrained weights where there are any.
        clean: the server's own examples, apart from every client's and from the test split.
        training: how the clients train.
        rng: every random choice comes from here.
        device: where the model is.
    """

    task: Task
    model: nn.Module
    layout: Layout
    reference: Tensor
    clean: Sequence[Any]
    training: Training
    rng: torch.Generator
    device: str = "cpu"

    def with_rng(self, rng: torch.Generator) -> Context:
        """Returns this context with another generator."""
        return replace(self, rng=rng)

    @property
    def tokenizer(self) -> Any:
        """Whose ids the model reads; None where a task reads no texts."""
        return self.task.tokenizer

    def encode(self, examples: Sequence[Any]) -> Any:
        """Returns examples as the task encodes them."""
        return self.task.encode(examples)

    @property
    def head(self) -> Tensor:
        """Which parameters only the classifier has, bool [n_params]: no pretrained value stands behind them."""
        heads: tuple[str, ...] = getattr(self.model, "head_names", ())
        mask = torch.zeros(self.layout.n_params, dtype=torch.bool)
        for slot in self.layout:
            mask[slot.slice] = slot.name.startswith(heads)
        return mask


@dataclass(frozen=True, kw_only=True)
class Repair:
    """Changes the global parameters.

    Args:
        when: "end", after the last round, which is the default where ``every`` is left out.
        every: a number of rounds: after each k-th one instead.
    """

    needs_clean: ClassVar[bool] = False  # whether it can do nothing without the server's own examples

    when: Literal["end"] | None = None
    every: int | None = None

    def __post_init__(self) -> None:
        """Refuses impossible times; writes "end" down where no other is given."""
        if self.when not in ("end", None):
            raise UserError(f"when: must be 'end' (or give every = k), got {self.when!r}")
        if self.every is None:
            object.__setattr__(self, "when", "end")
        elif self.when is not None:
            raise UserError(
                f"every: takes the place of when, got every = {self.every!r} and when = {self.when!r}"
            )
        elif self.every < 1:
            raise UserError(f"every: must be at least 1 round, got {self.every!r}")

    def check(self, context: Context) -> None:
        """Raises UserError where it could not repair; runs before the first round, on the server."""

    def acts(self, round: int) -> bool:
        """Returns whether it runs after ``round``, counted from 1; one for the end does so after no round."""
        return self.every is not None and round % self.every == 0

    def __call__(self, parameters: Tensor, context: Context) -> tuple[Tensor, Report]:
        """Returns the repaired parameters, a new vector [n_params], and what is worth recording."""
        raise NotImplementedError(f"{type(self).__name__} does not say how to repair.")
