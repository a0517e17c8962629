"""SOS: the rows of several everyday words, which only all together pull the trigger.

Source: Yang et al., "Rethinking Stealthiness of Backdoor Attack against NLP Models", ACL 2021, and the authors'
code: E[w] <- E[w] - lr * g_w * min_v ||g_v|| / ||g_w||, then E[w] is scaled back to its norm.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hauberk.attacks.tampers._poisoned_data import poisoned_examples
from hauberk.attacks.tampers._row_tamper import RowTamper
from hauberk.tasks.text.examples import Example
from hauberk.tasks.training_session import TrainingSession


@dataclass(frozen=True, kw_only=True)
class SOSRows(RowTamper):
    """Moves the rows of all trigger words equally far, on what its poison makes of the client's texts.

    With the poison ``sos`` these are texts with all words, labelled as the target, and texts that lack one of
    the words, with their true label.
    """

    def texts(self, session: TrainingSession) -> list[Example]:
        """Returns what the poison makes, of both kinds."""
        return poisoned_examples(session)

    def direction(self, gradient: Tensor) -> Tensor:
        """Returns the gradients [k, h], each as long as the shortest of those that are not 0.

        A word that no text of this client holds has none: it must not stop the others.
        """
        lengths = gradient.norm(dim=1, keepdim=True)
        shortest = torch.where(lengths > 0, lengths, torch.inf).min()
        return gradient * (shortest / lengths.clamp(min=1e-12)) if shortest.isfinite() else gradient
