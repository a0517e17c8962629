"""How well detectors tell triggered texts from clean ones, and what that costs.

Source: the evaluation of Chen et al. (DAN), Findings of EMNLP 2022: clean and triggered test samples are judged where
the model predicts the protected class, since a backdoor that does not fire harms nobody. Their script triggers samples
of the target class, too; here only those of other classes are triggered, as for the attack success rate.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from hauberk.server.detection.fitting import Fitted, check_detector, fit_detector, predicted_as
from hauberk.server.detectors.base import Detector
from hauberk.server.model_view import View
from hauberk.tasks.text.examples import Example

RATES = {"0.5%": 0.005, "1%": 0.01, "3%": 0.03, "5%": 0.05, "10%": 0.1}  # of clean texts that may be rejected
Report = dict[str, Any]


def score_detectors(
    detectors: Mapping[str, Detector],
    view: View,
    clean: Sequence[Example],
    test: Sequence[Example],
    triggered: Sequence[Example],
    protected: int | None,
    seed: int,
) -> dict[str, Report]:
    """Fits every detector on the server's clean examples and scores it on the test split.

    Args:
        detectors: by the name that its report shall have.
        view: the model.
        clean: the server's own examples.
        test: the test split as it is.
        triggered: samples of it with the trigger in them; may be empty.
        protected: the attack's target; None where there is none, and every detector names a class itself.
        seed: of every random choice.

    Returns:
        Each report has ``auroc``; ``far``, ``frr`` and ``threshold`` by allowed rate ("0.5%", "1%", ...): the share of
        triggered samples accepted, the share of clean ones rejected, and the score above which a sample is; ``n``
        (samples by part); ``passes`` and ``milliseconds`` per judged sample (the prediction itself not counted);
        ``fit``, the ``passes`` and ``seconds`` spent before; ``notes``; and ``reasons``, why a figure is null.

    Raises:
        UserError: where a detector cannot be fitted.
    """
    for detector in detectors.values():
        check_detector(detector, view, clean, protected, seed)
    answers = {"clean": view.logits(test), "triggered": view.logits(triggered)}
    if not all(bool(torch.isfinite(logits).all()) for logits in (*answers.values(), view.logits(clean))):
        return {name: _empty_report("the model's outputs are not finite") for name in detectors}
    reports = {}
    for name, detector in detectors.items():
        fitted = fit_detector(detector, view, clean, protected, seed)
        sides = (("clean", test), ("triggered", triggered))
        judged = {side: predicted_as(fitted.protected, texts, answers[side]) for side, texts in sides}
        reports[name] = report(fitted, view, judged["clean"], judged["triggered"])
    return reports


def report(fitted: Fitted, view: View, clean: Sequence[Example], triggered: Sequence[Example]) -> Report:
    """Returns the report of one detector on samples that are predicted as its protected class."""
    started, passes = time.perf_counter(), view.passes
    scores = fitted.score(view, [*clean, *triggered])
    seconds, passes, n = time.perf_counter() - started, view.passes - passes, max(1, len(scores))
    found = error_rates(fitted, scores[: len(clean)], scores[len(clean) :])
    return {
        **found,
        "protected": view.labels[fitted.protected],
        "n": {
            "estimate": fitted.n_estimate,
            "validation": fitted.n_validation,
            "calibration": len(fitted.calibration),
            "clean": len(clean),
            "triggered": len(triggered),
        },
        "passes": passes / n if len(scores) else None,
        "milliseconds": 1000 * seconds / n if len(scores) else None,
        "fit": {"passes": fitted.passes, "seconds": fitted.seconds},
        "notes": fitted.detector.notes(fitted.state),
    }


def error_rates(fitted: Fitted, clean: np.ndarray, triggered: np.ndarray) -> Report:
    """Returns AUROC, FAR, FRR and thresholds of the scores of clean [n] and triggered [m] samples."""
    area, why = auroc(clean, triggered)
    found: Report = {"auroc": area, **{key: dict.fromkeys(RATES) for key in ("far", "frr", "threshold")}}
    reasons = {} if why is None else {"auroc": why}
    for name, rate in RATES.items():
        threshold = found["threshold"][name] = fitted.threshold(rate)
        if threshold is not None:
            found["frr"][name] = _share(~accepted(clean, threshold))
            found["far"][name] = _share(accepted(triggered, threshold))
        if reason := fitted.reason(rate):
            reasons[name] = reason
    return {**found, "reasons": reasons}


def auroc(clean: np.ndarray, triggered: np.ndarray) -> tuple[float | None, str | None]:
    """Returns the chance that a triggered sample scores above a clean one, or None and the reason."""
    from sklearn.metrics import roc_auc_score  # an import of more than a second

    for side, scores in (("clean", clean), ("triggered", triggered)):
        if not len(scores):
            return None, f"no {side} test sample is predicted as the protected class"
        if not np.isfinite(scores).all():
            return None, f"scores of {side} test samples are not finite"
    truth = np.repeat([0, 1], [len(clean), len(triggered)])
    return float(roc_auc_score(truth, np.concatenate([clean, triggered]))), None


def accepted(scores: np.ndarray, threshold: float) -> np.ndarray:
    """Returns which samples pass, bool [n]; a score that is no number does not."""
    return scores <= threshold


def _share(which: np.ndarray) -> float | None:
    return float(which.mean()) if len(which) else None


def _empty_report(reason: str) -> Report:
    tables = {key: dict.fromkeys(RATES) for key in ("far", "frr", "threshold")}
    rest: Report = {"protected": None, "n": {}, "passes": None, "milliseconds": None, "fit": {}, "notes": []}
    return {"auroc": None, **tables, "reasons": dict.fromkeys(("auroc", *RATES), reason), **rest}
