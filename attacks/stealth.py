"""How well an attack hides: in its update, before two rules, in its text, and behind its trigger.

Sources: the relative sizes of updates in Zhang, Su and Sun, "Dim-Krum", Findings of EMNLP 2022; the false-trigger
rate and the perplexity of triggered texts in Yang et al., "Rethinking Stealthiness of Backdoor Attack against NLP
Models", ACL 2021.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from hauberk.attacks.poisons.base import Poison
from hauberk.strategies.kernels.krum_scores import krum_scores
from hauberk.tasks.text.examples import Example, last_text
from hauberk.tasks.text.metrics import attack_success
from hauberk.tasks.text.trigram import Trigram


def update_stealth(gram: Tensor, malicious: Tensor) -> dict[str, float]:
    """Returns the size and the direction of malicious updates beside the benign ones, means over each.

    Args:
        gram: the inner products of all updates, [n, n] in float64.
        malicious: which of them are an attacker's, bool [n]; some are and some are not.

    Returns:
        ``stealth/norm`` and ``stealth/benign_norm``, L2 norms; ``stealth/cosine``, with the mean of the benign
        updates, and ``stealth/benign_cosine``, of each benign update with the mean of the others (left out where
        there are no others). A cosine with nothing is 0.
    """
    gram, benign = gram.cpu(), ~malicious
    norms = gram.diagonal().sqrt()
    inner = gram[:, benign].sum(dim=1)  # with the sum of the benign updates
    total = inner[benign].sum()
    report = {
        "stealth/norm": float(norms[malicious].mean()),
        "stealth/benign_norm": float(norms[benign].mean()),
        "stealth/cosine": float(_cosine(inner[malicious], norms[malicious], total).mean()),
    }
    if benign.sum() > 1:
        squares, own = gram.diagonal()[benign], inner[benign]
        others = _cosine(own - squares, norms[benign], total - 2 * own + squares)
        report["stealth/benign_cosine"] = float(others.mean())
    return report


def rank_stealth(
    distances: Mapping[str, Tensor], malicious: Tensor, *, n_malicious: int | None = None
) -> dict[str, float]:
    """Returns the place of the best placed of the malicious updates among all, 1 for the most trusted.

    Args:
        distances: for each of some rules of Krum's kind what it takes for the squared distances of all updates,
            [n, n]. Dim-Krum has no memory here.
        malicious: which of them are an attacker's, bool [n].
        n_malicious: f of all rules; by default as many as there are, and as few as the rules need.

    Returns:
        ``stealth/NAME_rank`` for the name of each rule.

    Raises:
        ValueError: if there are fewer than three updates.
    """
    if len(malicious) < 3:
        raise ValueError(f"A rank needs at least 3 updates, got {len(malicious)}.")
    assumed = min(int(malicious.sum()) if n_malicious is None else n_malicious, len(malicious) - 3)
    return {
        f"stealth/{rule}_rank": _best_rank(krum_scores(found, assumed).cpu(), malicious)
        for rule, found in distances.items()
    }


def text_stealth(
    poison: Poison, examples: Sequence[Example], model: Trigram, rng: torch.Generator
) -> dict[str, float]:
    """Returns the perplexity of triggered texts, and of the clean ones that they come from.

    Args:
        poison: the attack.
        examples: of a split that ``model`` has not read.
        model: the language model, fitted on the training texts.
        rng: places the trigger.

    Returns:
        ``stealth/perplexity`` and ``stealth/clean_perplexity``; nothing for an attack without triggered texts.
    """
    triggered = poison.trigger(examples, rng)
    if not triggered:
        return {}
    indices = {example.index for example in triggered}
    # A test set of its own comes from no particular examples: then all victims are its measure.
    clean = [one for one in poison.victims(examples) if one.index in indices or -1 in indices]
    return {
        "stealth/perplexity": model.perplexity(map(last_text, triggered)),
        "stealth/clean_perplexity": model.perplexity(map(last_text, clean)),
    }


def false_trigger_rate(
    poison: Poison,
    examples: Sequence[Example],
    logits_of: Callable[[list[Example]], Tensor],
    rng: torch.Generator,
) -> float | None:
    """Returns the share of samples of other classes with a part of the trigger that are taken for the target.

    Args:
        poison: the attack.
        examples: of the test split.
        logits_of: examples -> logits [n, n_classes].
        rng: places the parts.

    Returns:
        The rate over all parts, which is to be read beside the floor of the success rate; ``None`` for a trigger
        that has no parts.
    """
    partial = poison.partial(examples, rng)
    return attack_success(logits_of(partial), poison.target) if partial else None


def _cosine(inner: Tensor, norms: Tensor, square: Tensor) -> Tensor:
    scale = norms * square.clamp(min=0).sqrt()
    return torch.where(scale > 0, inner / scale.clamp(min=1e-300), 0.0).clamp(-1, 1)


def _best_rank(scores: Tensor, malicious: Tensor) -> float:
    return 1.0 + float((scores[~malicious] < scores[malicious].min()).sum())
