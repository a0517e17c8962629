"""The three contrastive objectives of stock vectors; reconstructed from the abstract, see `models.stock_embedding`.

Each is the mean of an InfoNCE loss, -log exp(cos(a, b+) / tau) / sum_b exp(cos(a, b) / tau), over those examples of a
batch that have something to be compared with, and 0 where none has.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax, normalize

from hauberk.tasks.stocks.encoded import DayBatch
from hauberk.tasks.stocks.models.stock_embedding import StockModel


def contrastive_loss(model: StockModel, batch: DayBatch, *, own: bool = False) -> Tensor:
    """Returns the sum of the objectives that are not switched off, a float32 scalar.

    Args:
        model: the vectors.
        batch: what they are compared with.
        own: whether the stocks of the batch alone are negatives, and no others of the table.
    """
    config, losses = model.config, []
    candidates = candidates_of(model, batch, own)
    states = model.window_states(batch.series) if config.internal or config.temporal else None
    if config.internal and states is not None:
        losses.append(internal_loss(model, batch, states, candidates))
    if config.temporal and states is not None:
        losses.append(temporal_loss(model, batch, states))
    if config.relational:
        losses.append(relational_loss(model, batch, candidates))
    return torch.stack(losses).sum()


def internal_loss(model: StockModel, batch: DayBatch, states: Tensor, candidates: Tensor) -> Tensor:
    """Returns L_int: a window and a text, of whatever time, against the internal vectors of ``candidates``."""
    target = torch.searchsorted(candidates, batch.stock)
    vectors = normalize(model.internal(candidates), dim=1)
    views = [(model.lasting_price(states), batch.has_prices)]
    if model.lasting_text is not None:
        views.append((model.lasting_text(batch.text), batch.has_text))
    losses = [
        cross_entropy(
            (normalize(view, dim=1) @ vectors.T / model.config.temperature)[known], target[known],
            reduction="sum",
        )
        for view, known in views
    ]  # fmt: skip
    return torch.stack(losses).sum() / max(1, sum(int(known.sum()) for _, known in views))


def temporal_loss(model: StockModel, batch: DayBatch, states: Tensor) -> Tensor:
    """Returns L_tmp: a stock's window against its texts of that day and of its other days, and the other way round."""
    both = batch.has_prices & batch.has_text
    if model.temporary_text is None or not both.any():
        return states.sum() * 0
    prices = normalize(model.temporary_price(states[both]), dim=1)
    texts = normalize(model.temporary_text(batch.text[both]), dim=1)
    stock = batch.stock[both]
    same = stock[:, None] == stock[None, :]
    logits = (prices @ texts.T / model.config.temperature).masked_fill(~same, -torch.inf)
    compared = same.sum(1) > 1
    target = torch.arange(len(stock), device=stock.device)[compared]
    there, back = (cross_entropy(each[compared], target, reduction="sum") for each in (logits, logits.T))
    return (there + back) / max(1, 2 * len(target))


def relational_loss(model: StockModel, batch: DayBatch, candidates: Tensor) -> Tensor:
    """Returns L_rel: relational vectors of stocks whose residual returns go together, against other ``candidates``.

    Related to a stock on a day are the ``top`` share of the batch's other stocks of that day, by the correlation of
    residual returns over the window.
    """
    related = related_stocks(batch, model.config.top)
    anchors = related.any(1)
    target = torch.searchsorted(candidates, batch.stock)
    vectors = normalize(model.relational(candidates), dim=1)
    logits = vectors[target] @ vectors.T / model.config.temperature
    logits = logits.masked_fill(candidates[None, :] == batch.stock[:, None], -torch.inf)
    likelihood = log_softmax(logits[anchors], dim=1)[:, target]  # of each other row's stock
    share = related[anchors].float()
    terms = torch.where(related[anchors], likelihood, 0) * share / share.sum(1, keepdim=True)
    return -terms.sum() / max(1, int(anchors.sum()))


def related_stocks(batch: DayBatch, top: float) -> Tensor:
    """Returns for each row of a batch which others are of the same day and related to it, bool [b, b]."""
    centred = batch.residual - batch.residual.mean(1, keepdim=True)
    unit = normalize(centred, dim=1)
    other = ~torch.eye(len(batch), dtype=torch.bool, device=unit.device)
    other &= batch.stock[:, None] != batch.stock[None, :]
    known = batch.has_prices[:, None] & batch.has_prices[None, :]
    compared = other & known & (batch.day[:, None] == batch.day[None, :])
    correlation = (unit @ unit.T).masked_fill(~compared, -torch.inf)
    counts = compared.sum(1)
    n_related = (top * counts).round().long().clamp(min=1)
    ranked = correlation.sort(dim=1, descending=True).values
    least = ranked.gather(1, (n_related - 1)[:, None])
    return compared & (correlation >= least) & (counts > 1)[:, None]


def candidates_of(model: StockModel, batch: DayBatch, own: bool) -> Tensor:
    """Returns the stocks among which one has to be found, ascending: all, or those of the batch."""
    if own:
        return batch.stock.unique()
    return torch.arange(model.internal.num_embeddings, device=batch.stock.device)
