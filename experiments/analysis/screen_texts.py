"""A guard before a finished run's model: new texts with prediction, score and verdict, for whoever deploys it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hauberk.experiments.analysis.detect import Named, named, needed_clean
from hauberk.experiments.runner.finished import Finished, read_finished
from hauberk.server.detection.fitting import Fitted, fit_detector
from hauberk.strategies.serving import Served, Serving
from hauberk.tasks.errors import UserError
from hauberk.tasks.text.examples import Example

Verdict = dict[str, Any]


def guard_run(
    run_folder: str | Path,
    texts: Sequence[str | tuple[str, str | None]],
    detector: Named,
    false_rejection_rate: float = 0.05,
) -> list[Verdict]:
    """Answers new texts with a finished run's model, and judges those that it takes for the protected class.

    Args:
        run_folder: the run.
        texts: texts, or pairs of texts.
        detector: its name, a table with a ``name``, or a detector.
        false_rejection_rate: the share of clean texts of that class that may be rejected.

    Returns:
        For each text ``text`` (and ``second``), ``prediction`` (the class's name), ``judged``, ``score``,
        ``threshold`` and ``verdict``: "rejected" where the score lies above the threshold, otherwise "accepted". A text
        that is predicted as another class is not judged and accepted without a score: a backdoor shows in the class
        that it evokes. Whoever fears for several classes asks once for each, with the detector's ``protected``. Under a
        rule that defends while it answers the prediction is what it serves, and ``left_out`` lists the clients whose
        contributions that does without; the detector looks at the model behind it.

    Raises:
        UserError: there is no such run, or too few clean examples for the detector or the rate.
    """
    if not 0 < false_rejection_rate < 1:
        raise UserError(f"false_rejection_rate: must lie between 0 and 1, got {false_rejection_rate!r}")
    ((_, built),) = named([detector]).items()
    run = read_finished(run_folder)
    fitted = fit_detector(built, run.view, needed_clean(run), run.target, run.spec.seed)
    threshold = fitted.threshold(false_rejection_rate)
    if threshold is None:
        raise UserError(
            f"false_rejection_rate: {fitted.reason(false_rejection_rate)}; allow more, or run with more than "
            f"server.clean.n_examples = {len(run.clean)}"
        )
    return judge(run, fitted, threshold, texts)


def judge(
    run: Finished, fitted: Fitted, threshold: float, texts: Sequence[str | tuple[str, str | None]]
) -> list[Verdict]:
    """Returns a verdict for each of ``texts``."""
    pairs = [(each, None) if isinstance(each, str) else each for each in texts]
    examples = [Example(index, text, second, -1) for index, (text, second) in enumerate(pairs)]
    served = run.served(examples) if examples else None
    logits = run.view.logits(examples) if served is None else served.logits
    answers = logits.argmax(dim=1).tolist()
    judged = [example for example in examples if answers[example.index] == fitted.protected]
    scores = dict(zip([each.index for each in judged], fitted.score(run.view, judged).tolist(), strict=True))
    return [
        {
            "text": example.text,
            **({} if example.second is None else {"second": example.second}),
            "prediction": run.view.labels[answers[example.index]],
            **_verdict(scores.get(example.index), threshold),
            **({} if served is None else about_answer(run.serving, served, example.index)),
        }
        for example in examples
    ]


def about_answer(serving: Serving | None, served: Served, row: int) -> Verdict:
    """Returns what is known of the answer to input ``row``: whom it does without, and how many cannot change it."""
    proven = {} if served.certified is None else {"certified": int(served.certified[row])}
    return {"left_out": left_out(serving, served, row), **proven}


def left_out(serving: Serving | None, served: Served, row: int) -> list[int]:
    """Returns the ids of the clients whose contributions the answer to input ``row`` does without."""
    assert serving is not None
    columns = served.left_out[row].nonzero().squeeze(1).tolist()
    return sorted(client for column in columns for client in serving.clients[column])


def _verdict(score: float | None, threshold: float) -> Verdict:
    passes = score is None or score <= threshold  # a score that is no number does not
    return {
        "judged": score is not None,
        "score": score if score is not None and math.isfinite(score) else None,
        "threshold": threshold,
        "verdict": "accepted" if passes else "rejected",
    }


def show_guard(console: Console, verdicts: Sequence[Verdict], *, as_json: bool) -> None:
    """Shows the verdicts as a table, or as JSON Lines."""
    if as_json:
        for each in verdicts:
            console.out(json.dumps(each, ensure_ascii=False), highlight=False)
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    serves = any("left_out" in each for each in verdicts)
    for heading in ("verdict", "prediction", "score", *(("left out",) if serves else ()), "text"):
        table.add_column(heading, overflow="fold", justify="right" if heading == "score" else "left")
    for each in verdicts:
        score = "-" if each["score"] is None else f"{each['score']:.3f}"
        text = " | ".join(each[key] for key in ("text", "second") if key in each)
        without = [" ".join(map(str, each["left_out"])) or "-"] if serves else []
        table.add_row(each["verdict"], escape(each["prediction"]), score, *without, escape(text))
    console.print(table, highlight=False)
    console.print(summary_of(verdicts), highlight=False, soft_wrap=True)


def summary_of(verdicts: Sequence[Verdict]) -> str:
    """Returns how many texts were rejected, at which threshold, and how many passed unjudged."""
    rejected = sum(each["verdict"] == "rejected" for each in verdicts)
    unjudged = sum(not each["judged"] for each in verdicts)
    threshold = f"above {verdicts[0]['threshold']:.3f}" if verdicts else ""
    return (
        f"{rejected} of {len(verdicts)} texts rejected, scores {threshold}; {unjudged} predicted as another class "
        "than the protected one, accepted unjudged"
    )
