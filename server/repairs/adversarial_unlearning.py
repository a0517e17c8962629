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
from torch import Tensor, nn

from hauberk.server.assets import ServerAssets
from hauberk.server.repairs._tuning import TuningRepair
from hauberk.server.repairs.base import Report
from hauberk.tasks.errors import UserError
from hauberk.tasks.parameters import flatten, load_state, state_of
from hauberk.tasks.seeds import seeded
from hauberk.tasks.text.encoding import Encoded
from hauberk.tasks.text.metrics import predict
from hauberk.tasks.text.word_rows import frozen, patched, word_table

SEARCH_RATE = 0.1  # of Adam, times the longest that a vector may be


@dataclass(frozen=True, kw_only=True)
class AdversarialUnlearning(TuningRepair):
    """Finds ``n_words`` vectors for each class that make clean texts answered so, and tunes against them; in rounds.

    They are read in the place of words that no clean text has, whose own vectors no gradient moves.

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
        for key in ("epochs", "n_words", "rounds", "search_steps"):
            if getattr(self, key) < 1:
                raise UserError(f"{key}: must be at least 1, got {getattr(self, key)!r}")
        if not self.radius > 0:
            raise UserError(f"radius: must be above 0, got {self.radius!r}")

    def check(self, assets: ServerAssets) -> None:
        """Raises UserError for pairs of texts, for texts that are too short, and where the table has too few words."""
        super().check(assets)
        clean = assets.encode(assets.clean)
        if clean.segments is not None:
            raise UserError("repairs: adversarial_unlearning searches single texts, and these are pairs")
        self._unused(clean, assets)
        longest = int(clean.lengths.max(initial=0))
        if longest <= self.n_words + 1:
            raise UserError(
                f"n_words: must leave 2 words of the longest clean text, which has {longest}, got {self.n_words}"
            )

    def __call__(self, parameters: Tensor, assets: ServerAssets) -> tuple[Tensor, Report]:
        """Returns the tuned parameters [n_params], and the share of texts that each round's search could turn."""
        self.check(assets)
        load_state(assets.model, parameters)
        clean: Encoded = assets.encode(assets.clean)
        free = self._unused(clean, assets)
        ids = free[torch.randperm(len(free), generator=assets.rng)[: self._n_vectors(assets)].numpy()]
        turned = [self._round(clean, ids, assets) for _ in range(self.rounds)]
        return flatten(state_of(assets.model, copy=False)).cpu(), {"turned": turned}

    def _round(self, clean: Encoded, ids: np.ndarray, assets: ServerAssets) -> float:
        """Searches and tunes once, and returns the share of texts that what was found turned before."""
        task: Any = assets.task
        wanted = task.concatenate([
            self._with_words(clean.take(np.flatnonzero(clean.labels != label)), part, assets.rng, label)
            for label, part in enumerate(np.split(ids, task.n_classes))
        ])  # fmt: skip
        vectors = self._searched(wanted, ids, assets)
        true = wanted.labelled(_true_labels(clean, wanted), wanted.index)
        with patched(assets.model, ids.tolist(), vectors):
            precision = assets.training.precision
            answers = predict(assets.model, wanted, precision=precision, device=assets.device).argmax(dim=1)
            self._tune(assets, task.concatenate([clean, true]))
        return float((answers.numpy() == wanted.labels).mean())

    def _n_vectors(self, assets: ServerAssets) -> int:
        task: Any = assets.task
        return self.n_words * task.n_classes

    def _unused(self, clean: Encoded, assets: ServerAssets) -> np.ndarray:
        """Returns the token ids that no clean text has; raises UserError where they are too few."""
        n_tokens, n = len(word_table(assets.model).weight), self._n_vectors(assets)
        free = np.setdiff1d(np.arange(n_tokens), np.append(clean.tokens, clean.pad_id))
        if len(free) < n:
            raise UserError(
                f"n_words: {n} words that no clean text has are needed, and the table has {len(free)}"
            )
        return free

    def _searched(self, wanted: Encoded, ids: np.ndarray, assets: ServerAssets) -> Tensor:
        """Returns vectors [k, h] in the place of ``ids`` that make the texts answered as they are labelled."""
        table = word_table(assets.model).weight.detach()
        longest = self.radius * table.norm(dim=1).median()
        rows = nn.Parameter(table[torch.as_tensor(ids)].clone())
        optimizer = torch.optim.Adam([rows], lr=float(SEARCH_RATE * longest))
        assets.model.eval()
        # cuDNN computes no gradients through a recurrent network that is not training.
        with (
            patched(assets.model, ids.tolist(), rows),
            frozen(assets.model),
            torch.backends.cudnn.flags(enabled=False),
        ):
            for _ in range(self.search_steps):
                drawn = torch.randint(len(wanted), (self.batch_size,), generator=assets.rng).numpy()
                (batch,) = assets.task.batches(wanted.take(drawn), self.batch_size)
                optimizer.zero_grad()
                assets.task.loss(assets.model, batch.to(assets.device)).backward()
                optimizer.step()
                with torch.no_grad():
                    rows.mul_((longest / rows.norm(dim=1, keepdim=True).clamp(min=1e-12)).clamp(max=1))
        return rows.detach()

    def _tune(self, assets: ServerAssets, data: Encoded) -> None:
        with seeded(assets.rng):
            self.session(assets, data, self.training(assets, len(data))).train()

    def _with_words(self, texts: Encoded, ids: np.ndarray, rng: torch.Generator, label: int) -> Encoded:
        """Returns those texts that are long enough with ``ids`` in them, behind the first token, as ``label``."""
        texts = texts.take(np.flatnonzero(texts.lengths > len(ids) + 1))
        room = texts.lengths - len(ids) - 1
        starts = 1 + (torch.rand(len(texts), generator=rng).numpy() * room).astype(np.int64)
        tokens = texts.tokens.copy()
        tokens[(texts.offsets[:-1] + starts)[:, None] + np.arange(len(ids))] = ids
        return replace(texts, tokens=tokens, labels=np.full(len(texts), label, dtype=np.int64))


def _true_labels(clean: Encoded, texts: Encoded) -> np.ndarray:
    """Returns the labels that the clean texts of the same indices have."""
    of = dict(zip(clean.index.tolist(), clean.labels.tolist(), strict=True))
    return np.array([of[one] for one in texts.index.tolist()], dtype=np.int64)
