"""Adversarial unlearning: look for the words that turn the model, and teach it not to turn.

Source: Zeng, Chen, Park, Mao, Jin and Jia, "Adversarial Unlearning of Backdoors via Implicit Hypergradient", ICLR 2022
(I-BAU), whose perturbation of all pixels is here that of a few word vectors; reconstructed. Its minimax is taken in
turns, without the hypergradient, since what is found is looked for anew in each round.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from hauberk.server.assets import ServerAssets
from hauberk.server.repairs._tuning import TuningRepair
from hauberk.server.repairs.base import Report
from hauberk.tasks.errors import UserError
from hauberk.tasks.parameters import flatten, load_state, state_of
from hauberk.tasks.seeds import seeded
from hauberk.tasks.text.encoding import Encoded
from hauberk.tasks.text.word_rows import patched, rows_alone, word_table

SEARCH_RATE = 0.1  # of Adam, times the usual norm of a word vector


@dataclass(frozen=True, kw_only=True)
class AdversarialUnlearning(TuningRepair):
    """Finds ``n_words`` vectors for each class that make clean texts answered so, and tunes against them; in rounds.

    Args:
        n_words: how many neighbouring words of a text the vectors take the place of.
        rounds: how often they are looked for.
        search_steps: steps of one search.
        radius: the longest vector, times the median norm of the word table.
        epochs: passes over the clean examples in each round, with and without the vectors.
        lr: by default the clients' own: at 0.3 of it hardly anything is unlearnt (measured on a validation split).
    """

    modality: ClassVar[str | None] = "text"
    gentle: ClassVar[float] = 1.0

    epochs: int = 3
    n_words: int = 3
    rounds: int = 3
    search_steps: int = 60
    radius: float = 1.5

    def __post_init__(self) -> None:
        """Refuses what finds nothing."""
        super().__post_init__()
        for key in ("n_words", "rounds", "search_steps"):
            if getattr(self, key) < 1:
                raise UserError(f"{key}: must be at least 1, got {getattr(self, key)!r}")
        if not self.radius > 0:
            raise UserError(f"radius: must be above 0, got {self.radius!r}")

    def __call__(self, parameters: Tensor, assets: ServerAssets) -> tuple[Tensor, Report]:
        """Returns the tuned parameters [n_params], and the share of texts that each round's search could turn."""
        load_state(assets.model, parameters)
        task: Any = assets.task
        clean: Encoded = task.encode(assets.clean)
        labels = sorted(set(clean.labels.tolist()))
        table = word_table(assets.model)
        ids = _unused(clean, len(table.weight), self.n_words * len(labels), assets.rng)
        places = dict(zip(labels, np.split(ids, len(labels)), strict=True))
        turned = []
        for _ in range(self.rounds):
            wanted = task.concatenate([
                self._with_words(clean.take(np.flatnonzero(clean.labels != y)), places[y], assets.rng, y)
                for y in labels
            ])  # fmt: skip
            vectors = self._searched(wanted, ids, assets)
            true = wanted.labelled(_true_labels(clean, wanted), wanted.index)
            with patched(assets.model, ids.tolist(), vectors):
                answers = task.predict(assets.model, wanted, device=assets.device).argmax(dim=1)
                turned.append(float((answers.numpy() == wanted.labels).mean()))
                self._tune(assets, task.concatenate([clean, true]))
        return flatten(state_of(assets.model, copy=False)).cpu(), {"turned": turned}

    def _searched(self, wanted: Encoded, ids: np.ndarray, assets: ServerAssets) -> Tensor:
        """Returns vectors [k, h] in the place of ``ids`` that make the texts answered as they are labelled."""
        table = word_table(assets.model).weight
        usual = table.detach().norm(dim=1).median()
        before = table.detach()[torch.as_tensor(ids)].clone()
        assets.model.eval()
        with rows_alone(assets.model, ids.tolist()) as rows:
            optimizer = torch.optim.Adam([rows], lr=float(SEARCH_RATE * usual))
            for _ in range(self.search_steps):
                drawn = torch.randint(len(wanted), (self.batch_size,), generator=assets.rng).numpy()
                (batch,) = assets.task.batches(wanted.take(drawn), self.batch_size)
                loss = assets.task.loss(assets.model, batch.to(assets.device))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                with torch.no_grad():
                    norms = rows.norm(dim=1, keepdim=True)
                    rows.mul_((self.radius * usual / norms.clamp(min=1e-12)).clamp(max=1))
            found = rows.detach().clone()
        table.detach()[torch.as_tensor(ids)] = before
        return found

    def _tune(self, assets: ServerAssets, data: Encoded) -> None:
        with seeded(assets.rng):
            self.session(assets, data, self.training(assets, len(data))).train()

    def _with_words(self, texts: Encoded, ids: np.ndarray, rng: torch.Generator, label: int) -> Encoded:
        """Returns those texts that are long enough with ``ids`` somewhere in them, labelled ``label``."""
        texts = texts.take(np.flatnonzero(texts.lengths > len(ids) + 1))
        room = texts.lengths - len(ids) - 1
        starts = 1 + (torch.rand(len(texts), generator=rng).numpy() * room).astype(np.int64)
        tokens = texts.tokens.copy()
        tokens[(texts.offsets[:-1] + starts)[:, None] + np.arange(len(ids))] = ids
        return replace(texts, tokens=tokens, labels=np.full(len(texts), label, dtype=np.int64))


def _unused(clean: Encoded, n_tokens: int, n: int, rng: torch.Generator) -> np.ndarray:
    """Returns ``n`` token ids that no clean text has in it."""
    free = np.setdiff1d(np.arange(n_tokens), np.append(clean.tokens, clean.pad_id))
    if len(free) < n:
        raise UserError(
            f"n_words: {n} words that no clean text has are needed, and the table has {len(free)}"
        )
    return free[torch.randperm(len(free), generator=rng)[:n].numpy()]


def _true_labels(clean: Encoded, texts: Encoded) -> np.ndarray:
    """Returns the labels that the clean texts of the same indices have."""
    of = dict(zip(clean.index.tolist(), clean.labels.tolist(), strict=True))
    return np.array([of[one] for one in texts.index.tolist()], dtype=np.int64)
