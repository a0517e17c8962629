"""How well a run's attack hides in its texts and behind its trigger, measured once, on the final model."""

from __future__ import annotations

from hauberk.attacks import Poison
from hauberk.attacks.stealth import false_trigger_rate, text_stealth
from hauberk.experiments.runner.finished import Finished
from hauberk.tasks.digest import digest_of
from hauberk.tasks.seeds import generator
from hauberk.tasks.text.trigram import fit


def stealth_of(run: Finished) -> dict[str, float | None]:
    """Returns the perplexity of triggered and of clean test texts, and the false-trigger rate.

    Nothing where the attack has no poison, or the task no texts, or the clients keep theirs.

    The language model is a word trigram fitted on the clients' texts as they are. ``stealth/false_trigger_rate`` is
    None where the trigger has no parts.
    """
    attack = run.prepared.server.attack
    examples = run.prepared.worker.examples
    if attack is None or not isinstance(attack.poison, Poison) or not examples:
        return {}
    test, seed = list(run.prepared.test), run.spec.seed
    known, key = run.prepared.data.perplexities, digest_of(attack.poison)
    if key not in known:
        texts = [text for one in examples for text in (one.text, one.second) if text is not None]
        known[key] = text_stealth(attack.poison, test, fit(texts), generator(seed, "stealth"))
    found: dict[str, float | None] = {**known[key]}
    rng = generator(seed, "false trigger")
    found["stealth/false_trigger_rate"] = false_trigger_rate(attack.poison, test, run.logits, rng)
    return found
