"""What every score function shares: its settings, its loss, and how vectors become scores.

Score functions and losses are pykeen's; what is ours is how one query is scored against all entities at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from hauberk.tasks.errors import UserError, nearest
from hauberk.tasks.graph.models._pretraining import Pretraining
from hauberk.tasks.package_data import package_folder

INITS = ("random", "text", "pretrain")
LOSSES = ("self_adversarial", "margin")
EPSILON = 2.0  # as RotatE's code has it: vectors start within (margin + EPSILON) / dimension


@dataclass(frozen=True, kw_only=True)
class ScoreFunction(ABC):
    """How plausible a triple (h, r, t) of vectors is.

    Args:
        dimension: of a vector; complex ones have as many pairs of numbers.
        init: where vectors come from: "random"; "text", the entities' texts as the encoder reads them, along their
            principal axes; "pretrain", the same after they were tuned on triples (Pretrain-KGE).
        loss: "self_adversarial" (Sun et al., ICLR 2019) or "margin" (Bordes et al., NeurIPS 2013).
        margin: gamma of the loss, above 0.
        temperature: how much the self-adversarial loss looks at the hardest negatives, from 0.
        negatives: corrupted triples beside each true one, half of them with another head.
        encoder: the language model: "embedded:minilm-l6", a folder, or a name on the Hugging Face hub.
        max_length: tokens that it reads of a text.
        pretraining: of "pretrain", how and where the tuning happens.
    """

    complex_entities: ClassVar[bool] = False
    complex_relations: ClassVar[bool] = False

    dimension: int = 100
    init: str = "random"
    loss: str = "self_adversarial"
    margin: float = 9.0
    temperature: float = 1.0
    negatives: int = 16
    encoder: str = "embedded:minilm-l6"
    max_length: int = 64
    pretraining: Pretraining = field(default_factory=Pretraining)

    def __post_init__(self) -> None:
        """Refuses settings outside their range."""
        for key, choices in (("init", INITS), ("loss", LOSSES)):
            if getattr(self, key) not in choices:
                raise UserError(
                    f"{key}: unknown {getattr(self, key)!r}; {nearest(getattr(self, key), choices)}"
                )
        for key in ("dimension", "negatives"):
            if not getattr(self, key) >= 1:
                raise UserError(f"{key}: must be at least 1, got {getattr(self, key)!r}")
        if not self.max_length >= 5:
            raise UserError(f"max_length: must be at least 5 tokens, got {self.max_length!r}")
        if not (self.margin > 0 and self.temperature >= 0):
            raise UserError(
                f"margin: must be above 0, and temperature at least 0, got {self.margin!r} and {self.temperature!r}"
            )

    @property
    def entity_width(self) -> int:
        """How many numbers an entity's vector has."""
        return self.dimension * (2 if self.complex_entities else 1)

    @property
    def relation_width(self) -> int:
        """How many numbers a relation's vector has."""
        return self.dimension * (2 if self.complex_relations else 1)

    @property
    def spread(self) -> float:
        """Within what, on both sides of 0, random vectors begin."""
        return (self.margin + EPSILON) / self.dimension

    @abstractmethod
    def interaction(self) -> Any:
        """Returns pykeen's score function."""

    def criterion(self) -> Any:
        """Returns pykeen's loss."""
        losses = pykeen("losses")
        if self.loss == "margin":
            return losses.MarginRankingLoss(margin=self.margin)
        return losses.NSSALoss(margin=self.margin, adversarial_temperature=self.temperature)

    def entity_form(self, vectors: Tensor) -> Tensor:
        """Returns entities' vectors [..., entity_width] as the score function reads them."""
        return as_complex(vectors) if self.complex_entities else vectors

    def relation_form(self, vectors: Tensor) -> Tensor:
        """Returns relations' vectors [..., relation_width] as the score function reads them."""
        return as_complex(vectors) if self.complex_relations else vectors

    def random_relations(self, n: int, rng: torch.Generator) -> Tensor:
        """Returns ``n`` vectors to begin with, [n, relation_width]."""
        return (2 * torch.rand(n, self.relation_width, generator=rng) - 1) * self.spread

    @abstractmethod
    def tail_queries(self, heads: Tensor, relations: Tensor) -> Tensor:
        """Returns what `against` compares with every possible tail, [n, entity_width], of rows of the tables."""

    @abstractmethod
    def head_queries(self, relations: Tensor, tails: Tensor) -> Tensor:
        """Returns what `against` compares with every possible head, [n, entity_width]."""

    @abstractmethod
    def against(self, queries: Tensor, table: Tensor) -> Tensor:
        """Returns the scores of ``queries`` [n, w] with all entities [n_entities, w], [n, n_entities]."""


def as_complex(vectors: Tensor) -> Tensor:
    """Returns vectors [..., 2 d], real parts beside their imaginary parts, as complex numbers [..., d]."""
    return torch.view_as_complex(vectors.unflatten(-1, (-1, 2)).contiguous())


def as_real(vectors: Tensor) -> Tensor:
    """Returns complex vectors [..., d] as real ones [..., 2 d]."""
    return torch.view_as_real(vectors).flatten(-2)


def negative_distances(queries: Tensor, table: Tensor, norm: float) -> Tensor:
    """Returns minus the distances in a norm, [n, n_entities]; no short cut by products, which cancel."""
    return -torch.cdist(queries, table, p=norm, compute_mode="donot_use_mm_for_euclid_dist")


def pykeen(module: str) -> Any:
    """Returns a module of pykeen; raises UserError where it is not installed."""
    import importlib

    package_folder("pykeen")
    return importlib.import_module(f"pykeen.{module}")
