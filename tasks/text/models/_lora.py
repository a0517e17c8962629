"""LoRA: a pretrained network stands still, and small products of two matrices learn beside its layers.

Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022: W x + (alpha / rank) B A x with
B = 0 at the start. The layers are peft's, which the extra ``lora`` installs.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from torch import nn

from hauberk.tasks.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Lora:
    """Adapters of low rank; they and the head are all that learns, and so all that clients and server exchange.

    Args:
        rank: rank of each adapter, at least 1.
        alpha: an adapter counts alpha / rank, above 0.
        dropout: share of an adapter's inputs dropped in training, in [0, 1).
        targets: ends of the names of the layers that get one; by default those that peft knows for the network,
            for a BERT the queries and values of the attention.
    """

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.0
    targets: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Refuses what adapts nothing."""
        if self.targets is not None:
            object.__setattr__(self, "targets", tuple(self.targets))
        if not self.rank >= 1:
            raise UserError(f"rank: must be at least 1, got {self.rank!r}")
        if not self.alpha > 0:
            raise UserError(f"alpha: must be above 0, got {self.alpha!r}")
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout: must lie in [0, 1), got {self.dropout!r}")
        if self.targets is not None and not self.targets:
            raise UserError("targets: must name at least 1 layer, got 0")

    def adapt(self, network: Any, heads: tuple[str, ...]) -> None:
        """Puts adapters into ``network``, drawn from torch's generator, and freezes all but them and its heads.

        Args:
            network: a model of transformers, changed in place.
            heads: prefixes of the names of the head's parameters.

        Raises:
            UserError: peft is not installed, or there is no layer to adapt.
        """
        peft = _peft()
        targets = None if self.targets is None else list(self.targets)
        config = peft.LoraConfig(
            r=self.rank, lora_alpha=self.alpha, lora_dropout=self.dropout, target_modules=targets
        )
        try:
            peft.inject_adapter_in_model(config, network)
        except ValueError as error:
            reason = " ".join(str(error).split())[:300]
            raise UserError(f"model.lora.targets: {reason}") from error
        for name, parameter in network.named_parameters():
            if name.startswith(heads):
                parameter.requires_grad_(True)


def merged(network: nn.Module) -> Any:
    """Returns a copy of ``network`` in which every adapter has become part of the weights beside it."""
    network = copy.deepcopy(network)
    kind = _peft().tuners.lora.LoraLayer
    for name, layer in list(network.named_modules()):
        if isinstance(layer, kind):
            layer.merge()
            parent, _, last = name.rpartition(".")
            setattr(network.get_submodule(parent), last, layer.get_base_layer())
    del network.peft_config
    return network


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise UserError("model.lora: peft is not installed: pip install 'hauberk[lora]'") from error
    return peft
