"""What learns stocks' vectors, by the names that an experiment uses."""

from hauberk.tasks.stocks.models.stock_embedding import StockEmbedding, StockModel

MODELS: dict[str, type] = {"stock_embedding": StockEmbedding}

__all__ = ["MODELS", "StockEmbedding", "StockModel"]
