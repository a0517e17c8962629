"""Fits a detector on the server's clean examples, and takes its thresholds from those it was not fitted on.

Source: the evaluation of Chen et al. (DAN), Findings of EMNLP 2022, and of Yang et al. (RAP), EMNLP 2021: thresholds
are percentiles of clean scores, at a false-rejection rate that the deployer allows.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hauberk.server.detectors.base import Detector, State
from hauberk.server.model_view import View
from hauberk.tasks.errors import UserError
from hauberk.tasks.seeds import generator
from hauberk.tasks.text.examples import Example

ESTIMATE = 0.8  # the share of the clean examples to fit on; the rest validates


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """A detector that is ready to judge.

    Attributes:
        protected: the class it protects.
        n_estimate: how many examples it was fitted on.
        n_validation: how many others there were.
        calibration: the scores of those of them that set the thresholds, float64 [n].
        passes: texts that went through a network for the fit and the calibration.
        seconds: their wall time.
    """

    detector: Detector
    state: State
    protected: int
    n_estimate: int
    n_validation: int
    calibration: np.ndarray
    passes: int
    seconds: float

    def score(self, view: View, examples: Sequence[Example]) -> np.ndarray:
        """Returns the scores of ``examples``, float64 [n]; n may be 0."""
        return self.detector.score(view, self.state, examples).numpy() if examples else np.empty(0)

    def threshold(self, rate: float) -> float | None:
        """Returns the score above which a text is rejected, as ``rate`` of the clean ones are; None without one."""
        return None if self.reason(rate) else float(np.quantile(self.calibration, 1 - rate))

    def reason(self, rate: float) -> str | None:
        """Returns why there is no threshold for ``rate``; None where there is one."""
        n = len(self.calibration)
        if not n:
            return f"none of the {self.n_validation} validation samples is predicted as the protected class"
        if rate < 1 / n:
            among = "" if self.detector.calibrates_on == "all" else " predicted as the protected class"
            return f"an allowed rate of {rate:.3g} is below 1/{n}, one of the {n} validation samples{among}"
        return None if np.isfinite(self.calibration).all() else "validation scores are not finite"


def fit_detector(
    detector: Detector, view: View, clean: Sequence[Example], protected: int | None, seed: int
) -> Fitted:
    """Fits ``detector`` on four fifths of ``clean``, shuffled by ``seed``; the last fifth gives the thresholds.

    Args:
        detector: what to fit.
        view: the model.
        clean: labelled examples, apart from all that will be judged.
        protected: the class to protect where the detector does not name it itself.
        seed: of every random choice.

    Raises:
        UserError: where it cannot be fitted.
    """
    protected = check_detector(detector, view, clean, protected, seed)
    if not torch.isfinite(view.logits(clean)).all():
        raise UserError(
            f"detectors: {type(detector).__name__}: the model's answers to clean texts are not finite"
        )
    estimate, validation = split(clean, generator(seed, "detectors"))
    started, passes = time.perf_counter(), view.passes
    rng = generator(seed, "detectors", type(detector).__name__)
    state = detector.fit(view, estimate, validation, protected, rng)
    judged: Sequence[Example] = validation
    if detector.calibrates_on == "protected":
        judged = predicted_as(protected, validation, view.logits(validation))
    calibration = detector.score(view, state, judged).numpy() if judged else np.empty(0)
    return Fitted(
        detector=detector,
        state=state,
        protected=protected,
        n_estimate=len(estimate),
        n_validation=len(validation),
        calibration=calibration,
        passes=view.passes - passes,
        seconds=time.perf_counter() - started,
    )


def check_detector(
    detector: Detector, view: View, clean: Sequence[Example], protected: int | None, seed: int
) -> int:
    """Returns the class that ``detector`` protects; runs before the first round, too.

    Raises:
        UserError: where it could not be fitted.
    """
    if len(clean) < 2:
        raise UserError(
            f"server.clean.n_examples: a detector needs at least 2 clean examples, one to fit on and one to "
            f"validate on, got {len(clean)}"
        )
    if detector.protected is not None:
        protected = detector.protected
    if protected is None:
        classes = ", ".join(f"{number} ({label})" for number, label in enumerate(view.labels))
        raise UserError(
            f"detectors: protected: {type(detector).__name__} must be told which class to protect where no attack "
            f"has a target, one of {classes}"
        )
    detector.check(view, split(clean, generator(seed, "detectors"))[0], protected)
    return protected


def split(clean: Sequence[Example], rng: torch.Generator) -> tuple[list[Example], list[Example]]:
    """Returns four fifths of ``clean``, shuffled by ``rng``, and the rest; of two or more, neither is empty."""
    order = torch.randperm(len(clean), generator=rng).tolist()
    n = min(max(1, round(ESTIMATE * len(clean))), len(clean) - 1)
    return [clean[row] for row in order[:n]], [clean[row] for row in order[n:]]


def predicted_as(protected: int, examples: Sequence[Example], logits: Tensor) -> list[Example]:
    """Returns the ``examples`` whose largest logit, of [n, n_classes], is the protected class's."""
    return [
        each
        for each, answer in zip(examples, logits.argmax(dim=1).tolist(), strict=True)
        if answer == protected
    ]
