"""GRU: a text read in both directions, and the strongest answer of each unit.

Source: Cho et al., EMNLP 2014; max-pooling: Conneau et al., EMNLP 2017.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from hauberk.tasks.text.models._recurrent import Recurrent


@dataclass(frozen=True, kw_only=True)
class Gru(Recurrent):
    """A bidirectional GRU, max-pooled; the settings are those of ``Recurrent``."""

    cell = nn.GRU
