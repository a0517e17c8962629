"""What vectors of stocks know of sectors, and of how the stocks will move."""

from __future__ import annotations

import numpy as np

from hauberk.tasks.stocks.windows import market_of, residuals


def sector_purity(cosines: np.ndarray, sectors: np.ndarray, n_neighbours: int) -> float:
    """Returns the share of the nearest other stocks that are of a stock's own sector, over stocks that have one such.

    Args:
        cosines: how near each two of the stocks are, [n, n].
        sectors: the number of each stock's sector, [n]; a stock alone in its sector is none to ask.
        n_neighbours: how many of the nearest are looked at, at most n - 1.
    """
    nearness = cosines.astype(np.float64)
    np.fill_diagonal(nearness, -np.inf)
    nearest = np.argsort(-nearness, axis=1, kind="stable")[:, : min(n_neighbours, len(sectors) - 1)]
    same = sectors[nearest] == sectors[:, None]
    asked = (sectors[:, None] == sectors[None, :]).sum(1) > 1
    return float(same[asked].mean()) if asked.any() else 0.0


def chance_purity(sectors: np.ndarray) -> float:
    """Returns the purity that neighbours drawn at random have on average."""
    sizes = (sectors[:, None] == sectors[None, :]).sum(1)
    shares = (sizes[sizes > 1] - 1) / (len(sectors) - 1)
    return float(shares.mean()) if len(shares) else 0.0


def sector_information(cosines: np.ndarray, sectors: np.ndarray) -> float:
    """Returns the adjusted mutual information of the sectors with as many clusters, 0 at chance and 1 at best.

    Clusters are those of average linkage on 1 - cosine: no random start.
    """
    from sklearn.cluster import AgglomerativeClustering
    from sklearn.metrics import adjusted_mutual_info_score

    clustering = AgglomerativeClustering(
        n_clusters=len(set(sectors.tolist())), metric="precomputed", linkage="average"
    )
    found = clustering.fit_predict(np.clip(1 - cosines, 0, 2))
    return float(adjusted_mutual_info_score(sectors, found))


def future_correlation(cosines: np.ndarray, returns: np.ndarray) -> float:
    """Returns Spearman's correlation, over all pairs, of their nearness with that of their later residual returns.

    Args:
        cosines: how near each two of the stocks are, [n, n].
        returns: of the later period, [t, n]; a day on which a stock was not traded counts as 0.
    """
    from scipy.stats import spearmanr

    known = np.nan_to_num(returns)
    later = np.corrcoef(residuals(known, market_of(returns)).T)
    pairs = np.triu_indices(len(cosines), 1)
    return float(np.nan_to_num(spearmanr(cosines[pairs], later[pairs]).statistic))
