"""What is known of a round whose liars are known: how detectable they were, and how well they hid."""

from __future__ import annotations

import torch

from hauberk.attacks import stealth
from hauberk.strategies.kernels import backdoor_strength
from hauberk.strategies.kernels.distances import gram_matrix
from hauberk.strategies.layout import Layout
from hauberk.strategies.update_matrix import CollectedUpdates


def forensics(layout: Layout, collected: CollectedUpdates, malicious: list[int]) -> dict[str, float]:
    """Returns what theory and the stealth measures say of the rows that passed the guard.

    Nothing where nobody lies or too few are left.
    """
    lies = torch.tensor([client in malicious for client in collected.client_ids])
    if not lies.any() or len(lies) < 4 or int((~lies).sum()) < 2:
        return {}
    rows, gram = collected.updates, gram_matrix(collected.updates)
    return {
        **backdoor_strength.report(rows, lies, layout=layout, gram=gram),
        **stealth.update_stealth(rows, lies, gram),
        **stealth.rank_stealth(rows, lies, gram=gram),
    }
