"""DAN: triggered texts lie far from clean ones in the features of some layer.

Source: Chen et al., "Expose Backdoors on the Way: A Feature-Based Efficient Defense against Textual Backdoor Attacks",
Findings of EMNLP 2022, and its code, github.com/lancopku/DAN. The code pools the mean of the tokens by default; here
the default is the first token's state (``cls``), against which the mean lost by far wherever the two were compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from hauberk.server.detectors._mahalanobis import fit_gaussians
from hauberk.server.detectors.base import Detector, State
from hauberk.server.model_view import Pooling, View
from hauberk.tasks.errors import UserError
from hauberk.tasks.text.examples import Example, labels_of

Layers = Literal["mean", "max", "last"]
FEWEST = 2  # examples of a class: one alone is its own mean and says nothing of a spread


@dataclass(frozen=True, kw_only=True)
class DAN(Detector):
    """The squared Mahalanobis distance to the nearest class, in standard deviations of clean ones, over the layers.

    S(x) = mean_l or max_l of (M_l(x) - mean M_l) / std M_l, with the mean and the deviation of the validation samples.

    Args:
        pooling: one vector of a text's tokens: "cls", "mean" or "max".
        layers: the "mean" or the "max" over all layers, or the "last" layer alone.
        shrinkage: of the covariance, in [0, 1].
    """

    needs: ClassVar[frozenset[str]] = frozenset({"layers", "features"})

    pooling: Pooling = "cls"
    layers: Layers = "mean"
    shrinkage: float = 0.1

    def __post_init__(self) -> None:
        """Refuses unknown poolings and layers, and a share that is none."""
        super().__post_init__()
        for key, choices in (("pooling", get_args(Pooling)), ("layers", get_args(Layers))):
            if getattr(self, key) not in choices:
                raise UserError(f"{key}: must be one of {', '.join(choices)}, got {getattr(self, key)!r}")
        if not 0 <= self.shrinkage <= 1:
            raise UserError(f"shrinkage: must lie between 0 and 1, got {self.shrinkage!r}")

    def check(self, view: View, estimate: Sequence[Example], protected: int) -> None:
        """Refuses a class with fewer than two examples, too."""
        super().check(view, estimate, protected)
        found = Counter(example.label for example in estimate)
        for number, label in enumerate(view.labels):
            if found[number] < FEWEST:
                raise UserError(
                    f"detectors: DAN needs at least {FEWEST} clean examples of each class to estimate on, got "
                    f"{found[number]} of class {number} ({label}) among {len(estimate)}; raise server.clean.n_examples"
                )

    def fit(
        self,
        view: View,
        estimate: Sequence[Example],
        validation: Sequence[Example],
        protected: int,
        rng: torch.Generator,
    ) -> State:
        """Returns the Gaussians of ``estimate`` and, of ``validation``, mean and deviation by layer [n_layers, 1]."""
        gaussians = fit_gaussians(self._features(view, estimate), labels_of(estimate), self.shrinkage)
        found = gaussians.distances(self._features(view, validation))
        scale = found.std(dim=1, correction=0, keepdim=True)
        scale = torch.where(scale > 0, scale, 1.0)  # a layer that tells no two texts apart
        return {"gaussians": gaussians, "centre": found.mean(dim=1, keepdim=True), "scale": scale}

    def score(self, view: View, state: State, examples: Sequence[Example]) -> Tensor:
        """Returns S of each of ``examples``, float64 [n]."""
        distances = state["gaussians"].distances(self._features(view, examples))
        standardised = (distances - state["centre"]) / state["scale"]
        return standardised.amax(dim=0) if self.layers == "max" else standardised.mean(dim=0)

    def _features(self, view: View, examples: Sequence[Example]) -> Tensor:
        features = view.features(examples, self.pooling)
        return features[-1:] if self.layers == "last" else features
