"""SAM: prefers minima around which the loss stays low.

Source: Foret et al., "Sharpness-Aware Minimization for Efficiently Improving Generalization", ICLR 2021,
algorithm 1 with p = 2: eps = rho g / ||g||_2, w <- w - lr grad L(w + eps). In federated learning: FedSAM (Qu et
al., ICML 2022).
"""

from __future__ import annotations

from dataclasses import dataclass

from hauberk.clients.plugins._ascent import Ascent


@dataclass(frozen=True, kw_only=True)
class Sam(Ascent):
    """Steps with the gradient taken ``rho`` uphill; two passes a step (see ``ascent`` on what they see).

    Args:
        rho: L2 length of the way uphill, over all parameters together, above 0.
    """

    rho: float = 0.05
