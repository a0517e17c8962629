"""Child-Tuning_D: only those encoder weights are trained that the client's own texts call for.

Source: Xu et al., "Raise a Child in Large Language Model: Towards Effective and Generalizable Fine-tuning",
EMNLP 2021, task-driven variant. As in the official code the Fisher information is estimated from the gradients
of whole batches, each tensor's clipped, with dropout; the paper defines it text by text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from hauberk.clients.plugins._child_tuning import ChildTuning
from hauberk.tasks.errors import UserError
from hauberk.tasks.masks import kth_largest, learned, mask_gradients
from hauberk.tasks.precision import autocast
from hauberk.tasks.training_session import TrainingSession

KEY = "child_tuning_d/masks"
NOT_ENCODER = frozenset(
    {"embeddings", "pooler"}
)  # parts of transformers' names that the official code leaves out


@dataclass(frozen=True, kw_only=True)
class ChildTuningD(ChildTuning):
    """Masks the encoder layers by their Fisher information, the share p of the largest over all of them kept.

    The mask is made from one pass over the client's texts before each round and stays for that round. Encoder
    layers are all that is no embedding table (with what normalises it), no pooler and no head: a text_cnn's
    filters, a recurrent network's cells, a transformer's blocks, the adapters under LoRA. The rest always trains.

    Args:
        p: share of the encoder's weights that train, in (0, 1]; 1 is plain training to the last bit. Equal
            values at the threshold are all kept, as by the official percentile.
        masked_weights: "unchanged" or "stepped" (here weight decay alone), see ``ChildTuning``.
        max_grad_norm: to which L2 norm each tensor's gradient is clipped before it is squared, above 0.
    """

    whole_table: ClassVar[bool] = (
        False  # the word table is no part of the encoder; tensors are clipped one by one
    )

    p: float = 0.3
    max_grad_norm: float = 1.0

    def __post_init__(self) -> None:
        """Refuses a share or a norm that leaves nothing."""
        super().__post_init__()
        if not self.max_grad_norm > 0:
            raise UserError(f"max_grad_norm: must be above 0, got {self.max_grad_norm!r}")

    def setup(self, session: TrainingSession) -> None:
        """Makes the round's mask."""
        session.scratch[KEY] = {}
        if self.p < 1:
            session.scratch[KEY] = child_network(fisher(session, self.max_grad_norm), self.p)
            self.keep_outside(session, session.scratch[KEY])

    def gradients(self, session: TrainingSession) -> None:
        """Clears the gradients outside the mask."""
        parameters = dict(session.model.named_parameters())
        mask_gradients({name: parameters[name] for name in session.scratch[KEY]}, session.scratch[KEY])

    def finish(self, session: TrainingSession) -> dict[str, float]:
        """Returns the share of the encoder that trained."""
        super().finish(session)
        masks = session.scratch.pop(KEY).values()
        n = sum(mask.numel() for mask in masks)
        return {"child_tuning_d/share": sum(int(mask.sum()) for mask in masks) / n if n else 1.0}


def encoder(model: nn.Module) -> dict[str, nn.Parameter]:
    """Returns the trainable parameters of the encoder layers by name."""
    tables = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    heads = getattr(model, "head_names", ())
    return {
        name: parameter
        for name, parameter in learned(model).items()
        if id(parameter) not in tables
        and not name.startswith(heads)
        and NOT_ENCODER.isdisjoint(name.split("."))
    }


def fisher(session: TrainingSession, max_grad_norm: float) -> dict[str, Tensor]:
    """Returns the encoder's summed squared batch gradients by name; their mean would have the same ranks."""
    parameters = encoder(session.model)
    found = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    session.model.train()
    for batch in session.batches(0):
        session.model.zero_grad(set_to_none=True)
        with autocast(session.training.precision, session.device):
            loss = session.loss(session.model, batch)
        loss.backward()
        for name, parameter in parameters.items():
            if parameter.grad is not None:
                nn.utils.clip_grad_norm_(parameter, max_grad_norm)
                found[name].addcmul_(parameter.grad, parameter.grad)
    session.model.zero_grad(set_to_none=True)
    return found


def child_network(information: Mapping[str, Tensor], p: float) -> dict[str, Tensor]:
    """Returns where ``information`` reaches its (1 - p) percentile over all tensors jointly, bool by name."""
    n = sum(value.numel() for value in information.values())
    below = math.ceil(round((n - 1) * (1 - p), 6))  # a percentile between two numbers keeps the upper one
    threshold = kth_largest(list(information.values()), n - below)
    return {name: value >= threshold for name, value in information.items()}
