"""DP-SGD: no single text can change a client's update by more than noise would hide.

Source: Abadi et al., "Deep Learning with Differential Privacy", CCS 2016, algorithm 1; the budget by Renyi
differential privacy (Mironov et al., "Renyi Differential Privacy of the Sampled Gaussian Mechanism", 2019). Opacus
samples, clips, adds the noise and keeps the account; the extra ``privacy`` installs it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import ClassVar

import torch

from hauberk.clients.plugins._dp_sgd import Mechanism, epsilon, poisson_batches
from hauberk.clients.plugins.base import Plugin
from hauberk.clients.plugins.child_tuning_d import ChildTuningD
from hauberk.clients.plugins.surgery import Surgery
from hauberk.tasks.errors import UserError
from hauberk.tasks.seeds import draw
from hauberk.tasks.training_session import TrainingSession

KEY = "differential_privacy"
STEPS = f"{KEY}/steps"  # of all rounds so far, which travel with the client's state


@dataclass(frozen=True, kw_only=True)
class DifferentialPrivacy(Plugin):
    """Clips each text's gradient, adds Gaussian noise to their sum, and reports the budget spent so far.

    Every text is in a batch with probability batch_size / n, independently (Poisson sampling, which the account
    assumes), so that batches vary in size and may be empty; an epoch has ceil(n / batch_size) of them. Gradients
    come from one pass a text, not from Opacus' layer hooks: those do not fit weights that several layers or a
    kernel of our own read. A step so costs as much as its texts one by one, in the memory of one model more.

    What the budget does not cover: the reported loss; who took part; rounds whose reply the server refuses, as it
    then keeps the account of before; the noise follows from the experiment's seed, as everything here does, and
    hides nothing from those who know that. The plugin leads the list, as later ones then work on private
    gradients; plugins that read the texts themselves are refused. Each pass counts, so that SAM pays twice. It
    needs the whole embedding table, whose unused rows get noise as well.

    Args:
        noise_multiplier: standard deviation of the noise by ``max_grad_norm``, above 0.
        max_grad_norm: L2 norm to which a text's gradient is clipped, above 0.
        delta: for which delta epsilon is reported, between 0 and 1.
    """

    modality: ClassVar[str | None] = "text"
    owns_batches: ClassVar[bool] = True

    noise_multiplier: float = 1.0
    max_grad_norm: float = 1.0
    delta: float = 1e-5

    def __post_init__(self) -> None:
        """Refuses a mechanism that is not private, and to do without Opacus."""
        for key in ("noise_multiplier", "max_grad_norm"):
            if not 0 < getattr(self, key) < math.inf:
                raise UserError(f"{key}: must be above 0 and finite, got {getattr(self, key)!r}")
        if not 0 < self.delta < 1:
            raise UserError(f"delta: must lie between 0 and 1, got {self.delta!r}")
        if find_spec("opacus") is None:
            raise UserError("differential_privacy: opacus is not installed: pip install 'hauberk[privacy]'")

    def check(self, plugins: Sequence[Plugin]) -> None:
        """Raises UserError if another plugin comes first or reads the texts without paying for it."""
        if plugins[0] is not self:
            first = type(plugins[0]).__name__
            raise UserError(
                f"differential_privacy: must be the first plugin of the list, got {first} before it"
            )
        for plugin in plugins:
            if isinstance(plugin, ChildTuningD) or (isinstance(plugin, Surgery) and plugin.reads_texts):
                name = type(plugin).__name__
                raise UserError(f"differential_privacy: {name} reads gradients that are not private")

    def setup(self, session: TrainingSession) -> None:
        """Replaces the batches by Poisson's, and the loss by one that leaves clipped gradients behind."""
        rate = min(1.0, session.training.batch_size / len(session.data))
        rng = torch.Generator().manual_seed(draw(session.rng))
        mechanism = Mechanism(session, self.noise_multiplier, self.max_grad_norm, rate)
        session.scratch[KEY] = mechanism, session.batches, session.loss
        session.batches = lambda epoch: poisson_batches(session, rate, rng)
        session.loss = mechanism.loss

    def gradients(self, session: TrainingSession) -> None:
        """Puts the noisy mean of the clipped gradients in the place of all gradients."""
        session.scratch[KEY][0].release()

    def finish(self, session: TrainingSession) -> dict[str, float]:
        """Returns epsilon for all of the client's rounds so far."""
        mechanism, session.batches, session.loss = session.scratch.pop(KEY)
        mechanism.close()
        steps = int(session.state.get(STEPS, 0)) + mechanism.n_releases
        session.state[STEPS] = steps
        return {f"{KEY}/epsilon": epsilon(self.noise_multiplier, mechanism.rate, steps, self.delta)}
