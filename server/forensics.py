"""What is known of a round whose liars are known: how detectable they were, and how well they hid."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hauberk.attacks import stealth
from hauberk.strategies.kernels import backdoor_strength
from hauberk.strategies.kernels.distances import gram_matrix, squared_distances
from hauberk.strategies.kernels.geometry import Geometry
from hauberk.strategies.kernels.selections import dimension_distances
from hauberk.strategies.layout import Layout
from hauberk.strategies.update_matrix import CollectedUpdates

RATIO = 1e-3  # of the dimensions, in which Dim-Krum looks for the liars


def forensics(
    layout: Layout,
    collected: CollectedUpdates,
    malicious: list[int],
    known: Geometry | None = None,
    *,
    in_full: bool = True,
) -> dict[str, float]:
    """Returns what theory and the stealth measures say of the rows that passed the guard.

    Args:
        layout: where each tensor lies in a row.
        collected: the rows.
        malicious: the clients that lie; nothing is returned where nobody does or too few others are left.
        known: what the rule measured of the same rows; it is not measured again.
        in_full: whether what the rule did not measure is measured now, or left out.
    """
    lies = torch.tensor([client in malicious for client in collected.client_ids])
    if not lies.any() or len(lies) < 4 or int((~lies).sum()) < 2:
        return {}
    known = known or Geometry()
    if not in_full:
        return _places(known, lies)
    known = _completed(known, collected.updates)
    strength = backdoor_strength.report(
        collected.updates, lies, layout=layout, distances=known.squared_distances
    )
    return strength | _places(known, lies)


def _places(known: Geometry, lies: Tensor) -> dict[str, float]:
    """Returns what follows from the geometry alone, as far as it is known."""
    found: dict[str, float] = {}
    distances = {}
    if known.gram is not None:
        found |= stealth.update_stealth(known.gram, lies)
    if known.squared_distances is not None:
        found |= backdoor_strength.outcome(known.squared_distances, lies)
        distances["krum"] = known.squared_distances
    if known.strongest_squares is not None and known.ratio == RATIO:
        distances["dim_krum"] = known.strongest_squares
    return found | stealth.rank_stealth(distances, lies)


def _completed(known: Geometry, updates: Tensor) -> Geometry:
    """Returns all of the geometry that forensics looks at; what is known of it stays."""
    gram, distances, strongest = known.gram, known.squared_distances, known.strongest_squares
    gram = gram_matrix(updates) if gram is None else gram
    distances = squared_distances(updates, gram) if distances is None else distances
    if strongest is None or known.ratio != RATIO:
        strongest = dimension_distances(updates, RATIO)
    return replace(known, gram=gram, squared_distances=distances, strongest_squares=strongest, ratio=RATIO)
