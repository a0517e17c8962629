"""stock_embedding: what a stock is by itself and how it moves beside others, each a vector.

Reconstructed from the abstract of Li et al., "No Stock is an Island: Learning Internal and Relational Attributes of
Stocks with Contrastive Learning", FinNLP 2022: that there are internal and relational attributes, several contrastive
objectives and both sources of data is the paper's; sizes, losses and constants here are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from hauberk.tasks.errors import UserError
from hauberk.tasks.seeds import seeded
from hauberk.tasks.stocks.windows import N_FEATURES
from hauberk.tasks.text.models.pretrained import EMBEDDED

START = 0.1  # the standard deviation of the tables' first values


class StockModel(nn.Module):
    """The vectors of all stocks, and the encoders that they are compared with.

    ``internal`` and ``relational`` [n_stocks, k] are the tables; a window of prices becomes, by a GRU, a vector g to
    compare with internal ones and a vector h of what is temporary; a text likewise, by a linear map each.
    """

    def __init__(self, config: StockEmbedding, n_stocks: int, text_width: int):
        super().__init__()
        self.config = config
        k = config.dimension
        self.internal = nn.Embedding(n_stocks, k)
        self.relational = nn.Embedding(n_stocks, k)
        for table in (self.internal, self.relational):
            nn.init.normal_(table.weight, std=START)
        self.windows = nn.GRU(N_FEATURES, config.hidden, batch_first=True)
        self.lasting_price = nn.Linear(config.hidden, k)
        self.temporary_price = nn.Linear(config.hidden, k)
        self.lasting_text = nn.Linear(text_width, k) if text_width else None
        self.temporary_text = nn.Linear(text_width, k) if text_width else None

    def window_states(self, series: Tensor) -> Tensor:
        """Returns the GRU's last state on windows [b, window, 3], [b, hidden]."""
        return self.windows(series)[1][0]

    def forward(self, stock: Tensor) -> Tensor:
        """Returns e = [u; r] of stocks [n], each half of length 1 / sqrt(2), so that e is of length 1, [n, 2 k]."""
        halves = (normalize(table(stock), dim=1) for table in (self.internal, self.relational))
        return torch.cat(list(halves), dim=1) / 2**0.5


@dataclass(frozen=True, kw_only=True)
class StockEmbedding:
    """Internal and relational vectors of stocks, learned by contrast; reconstructed from the abstract.

    Args:
        dimension: of each of the two vectors.
        window: days of a price window.
        hidden: width of the GRU that reads windows.
        temperature: by which cosines are divided.
        top: share of the other stocks that count as related, those of the highest correlation; at least one stock.
        internal: whether a stock's internal vector is drawn to its windows and texts of all times.
        temporal: whether a window is drawn to the text of its day, away from those of the stock's other days.
        relational: whether relational vectors of related stocks are drawn together.
        encoder: what reads texts, frozen: "embedded:minilm-l6", a folder, or a name on the Hugging Face hub.
    """

    dimension: int = 64
    window: int = 60
    hidden: int = 64
    temperature: float = 0.1
    top: float = 0.1
    internal: bool = True
    temporal: bool = True
    relational: bool = True
    encoder: str = EMBEDDED

    def __post_init__(self) -> None:
        """Refuses settings outside their range."""
        rules = {
            "dimension: must be at least 1": self.dimension >= 1,
            "window: must be at least 5 days": self.window >= 5,
            "hidden: must be at least 1": self.hidden >= 1,
            "temperature: must be above 0 and finite": 0 < self.temperature < float("inf"),
            "top: must be a share in (0, 1]": 0 < self.top <= 1,
        }
        broken = [rule for rule, holds in rules.items() if not holds]
        if broken:
            raise UserError(
                "\n".join(f"{rule}, got {getattr(self, rule.partition(':')[0])}" for rule in broken)
            )
        if not (self.internal or self.temporal or self.relational):
            raise UserError(
                "internal: one objective must be left; internal, temporal and relational are all false"
            )

    def build(self, n_stocks: int, text_width: int, rng: torch.Generator) -> StockModel:
        """Returns a new model of ``n_stocks``; texts come as ``text_width`` numbers, none where that is 0."""
        with seeded(rng):
            return StockModel(self, n_stocks, text_width)
