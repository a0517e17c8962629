"""RAP: a word that lowers the protected class's probability a little leaves a trigger's certainty as it is.

Source: Yang et al., "RAP: Robustness-Aware Perturbations for Defending against Backdoor Attacks on NLP Models", EMNLP
2021, and its code, github.com/lancopku/RAP.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import torch
from torch import Tensor

from hauberk.server.detectors._perturbing_row import RowTraining, probability, row_kept
from hauberk.server.detectors.base import Detector, State
from hauberk.server.model_view import View
from hauberk.tasks.errors import UserError
from hauberk.tasks.seeds import draw, generator
from hauberk.tasks.text.examples import Example, last_text, with_last_text

SCALES = (1.0, 4.0, 16.0, 64.0)


@dataclass(frozen=True, kw_only=True)
class RAP(Detector):
    """How much of the protected class's probability a text keeps when the perturbing word stands before it.

    The word's embedding alone is trained, its norm kept, until clean texts of the class lose between ``smallest`` and
    ``largest``: the loss is scale * mean relu(diff + smallest) + mean relu(-largest - diff), with diff = p(word + x)
    - p(x). The score is diff. Costs two passes a text.

    Args:
        word: the perturbing word, a single token. The paper's is "cf", which many attacks have for a trigger.
        smallest: what a clean text shall lose at least.
        largest: what it shall lose at most.
        scale: the weight of the first term, which the paper raises where even clean texts lose nothing; "auto" takes
            the first of 1, 4, 16 and 64 at which they lose ``smallest`` in the mean (this rule is ours).
        lr: the step; gradients are never cleared, so that they work as a momentum.
        epochs: passes over the clean texts of the class.
        batch_size: texts of a step.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"embedding"})
    calibrates_on: ClassVar[Literal["all", "protected"]] = "protected"

    word: str = "mb"
    smallest: float = 0.1
    largest: float = 0.3
    scale: float | Literal["auto"] = "auto"
    lr: float = 1e-2
    epochs: int = 5
    batch_size: int = 32

    def __post_init__(self) -> None:
        """Refuses what cannot train."""
        super().__post_init__()
        if not 0 <= self.smallest <= self.largest <= 1:
            raise UserError(
                f"smallest: 0 <= smallest <= largest <= 1, got {self.smallest!r} and {self.largest!r}"
            )
        if self.scale != "auto" and not (not isinstance(self.scale, str) and self.scale > 0):
            raise UserError(f"scale: must be above 0 or 'auto', got {self.scale!r}")
        if not self.lr > 0:
            raise UserError(f"lr: must be above 0, got {self.lr!r}")
        for key in ("epochs", "batch_size"):
            if getattr(self, key) < 1:
                raise UserError(f"{key}: must be at least 1, got {getattr(self, key)!r}")

    def check(self, view: View, estimate: Sequence[Example], protected: int) -> None:
        """Refuses a clean set without the protected class, and a word without a row of its own, too."""
        super().check(view, estimate, protected)
        if not any(example.label == protected for example in estimate):
            raise UserError(
                f"detectors: RAP needs at least 1 clean example of the protected class {protected} "
                f"({view.labels[protected]}), got 0 among {len(estimate)}; raise server.clean.n_examples"
            )
        self.row(view)

    def row(self, view: View) -> int:
        """Returns the row of the word table that is the word's, where it begins a text."""
        alone = view.encode([Example(0, text, None, 0) for text in (self.word, "")])
        word, frame = (Counter(part.tokens.tolist()) for part in (alone.take([0]), alone.take([1])))
        ids = list((word - frame).elements())
        if len(ids) != 1:
            raise UserError(
                f"detectors: RAP: word: {self.word!r} must be a single token to have a row of its own, got {len(ids)}"
            )
        if ids[0] in view.special_ids:  # whose row all other unknown words read, too
            raise UserError(
                f"detectors: RAP: word: {self.word!r} must be a token that the tokenizer knows, got the special "
                f"token {ids[0]}"
            )
        return ids[0]

    def fit(
        self,
        view: View,
        estimate: Sequence[Example],
        validation: Sequence[Example],
        protected: int,
        rng: torch.Generator,
    ) -> State:
        """Returns the trained row, [h], where it belongs, the class, and the scale that did."""
        own = [example for example in estimate if example.label == protected]
        number, before = self.row(view), probability(view, own, protected)
        training = RowTraining(
            view=view,
            number=number,
            perturbed=view.encode(self.perturbed(own)),
            before=before,
            protected=protected,
            lr=self.lr,
            epochs=self.epochs,
            batch_size=self.batch_size,
        )
        seed, state = draw(rng), State()
        for scale in SCALES if self.scale == "auto" else (self.scale,):
            row = training.train(partial(self.loss, scale=float(scale)), generator(seed))
            state = {"number": number, "row": row, "protected": protected, "scale": float(scale)}
            if float(self.score(view, state, own).mean()) <= -self.smallest:
                break
        return state

    def loss(self, change: Tensor, scale: float) -> Tensor:
        """Returns the loss, a scalar, of the changes of the protected class's probability, [n]."""
        return scale * (change + self.smallest).relu().mean() + (-self.largest - change).relu().mean()

    def score(self, view: View, state: State, examples: Sequence[Example]) -> Tensor:
        """Returns by how much the word raises each text's probability of the protected class, float64 [n]."""
        before = probability(view, examples, state["protected"])
        with row_kept(view.model.embedding, state["number"]) as row:
            row.copy_(state["row"])
            return probability(view, self.perturbed(examples), state["protected"]) - before

    def perturbed(self, examples: Sequence[Example]) -> list[Example]:
        """Returns ``examples`` with the word before their text, the second of a pair."""
        return [with_last_text(example, f"{self.word} {last_text(example)}") for example in examples]

    def notes(self, state: State) -> list[str]:
        """Returns the scale that was found."""
        return [f"scale: {state['scale']:g}"]
