"""The parts of DP-SGD: Opacus' sampling, clipping, noise and account, around one pass for each text."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from hauberk.tasks.seeds import draw
from hauberk.tasks.text.batches import SHORTEST, Batch, collate
from hauberk.tasks.training_session import TrainingSession


class Mechanism:
    """Sums clipped gradients text by text and releases them with noise.

    Args:
        session: its model, loss and optimiser are those of now.
        noise_multiplier: standard deviation of the noise by ``max_grad_norm``.
        max_grad_norm: L2 norm to which a text's gradient is clipped.
        rate: with which probability a text is in a batch.

    Attributes:
        n_releases: how often noisy gradients were handed out.
    """

    def __init__(
        self, session: TrainingSession, noise_multiplier: float, max_grad_norm: float, rate: float
    ) -> None:
        from opacus.optimizers import DPOptimizer

        self.inner, self.rate, self.n_releases = session.loss, rate, 0
        self.kind = torch.device(session.device).type
        self.optimizer = DPOptimizer(
            session.optimizer,
            noise_multiplier=noise_multiplier,
            max_grad_norm=max_grad_norm,
            expected_batch_size=rate * len(session.data),
            generator=torch.Generator(session.device).manual_seed(draw(session.rng)),
        )

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Adds up the texts' clipped gradients and returns their mean loss, whose own backward pass is empty."""
        self._clear()
        losses = [self._add_one_text(model, text) for text in texts_of(batch)]
        mean = torch.stack(losses).mean() if losses else torch.zeros((), device=batch.tokens.device)
        return mean.requires_grad_()

    def release(self) -> None:
        """Makes the noisy sum, divided by the expected size of a batch, every parameter's gradient."""
        self.optimizer.add_noise()
        self.optimizer.scale_grad()
        self.n_releases += 1

    def close(self) -> None:
        """Takes what Opacus wrote on the parameters away."""
        for parameter in self.optimizer.params:
            del parameter.grad_sample, parameter.summed_grad

    def _clear(self) -> None:
        """Starts a sum; over no text at all it is zero."""
        for parameter in self.optimizer.params:
            parameter.summed_grad = None
            parameter.grad_sample = parameter.new_zeros((0, *parameter.shape))
        self._clip_and_add()

    def _add_one_text(self, model: nn.Module, text: Batch) -> Tensor:
        loss = self.inner(model, text)
        loss.backward()
        for parameter in self.optimizer.params:
            found = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            parameter.grad_sample, parameter.grad = found.unsqueeze(0), None
        self._clip_and_add()
        return loss.detach()

    def _clip_and_add(self) -> None:
        with torch.autocast(
            self.kind, enabled=False
        ):  # the loop's bfloat16 is for the passes, not for the sum
            self.optimizer.clip_and_accumulate()


def poisson_batches(session: TrainingSession, rate: float, rng: torch.Generator) -> Iterator[Batch]:
    """Yields an epoch of batches, in each of which every text is with probability ``rate``; they may be empty."""
    from opacus.utils.uniform_sampler import UniformWithReplacementSampler

    n, size = len(session.data), session.training.batch_size
    steps = -(-n // size)
    sampler = UniformWithReplacementSampler(num_samples=n, sample_rate=rate, generator=rng, steps=steps)
    for rows in sampler:
        batch = collate(session.data, np.array(rows or [0]))
        batch = batch if rows else _rows_cut_to(batch, slice(0, 0), SHORTEST)
        yield batch.to(session.device)


def texts_of(batch: Batch) -> Iterator[Batch]:
    """Yields the texts of a batch one by one, each without the padding that its neighbours needed."""
    for row, length in enumerate(batch.mask.sum(dim=1).tolist()):
        yield _rows_cut_to(batch, slice(row, row + 1), max(SHORTEST, length))


def epsilon(noise_multiplier: float, rate: float, steps: int, delta: float) -> float:
    """Returns the budget of ``steps`` releases by Opacus' Renyi account; 0 without any."""
    from opacus.accountants import RDPAccountant

    if not steps:
        return 0.0
    account = RDPAccountant()
    account.history = [(noise_multiplier, rate, steps)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that another order of Renyi's divergence might give a smaller bound
        return float(account.get_epsilon(delta))


def _rows_cut_to(batch: Batch, rows: slice, length: int) -> Batch:
    segments = None if batch.segments is None else batch.segments[rows, :length]
    return Batch(
        batch.tokens[rows, :length], batch.mask[rows, :length], segments, batch.labels[rows], batch.rows[rows]
    )
