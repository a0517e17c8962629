"""Surgery as a repair: clean data are learned by changing a bounded number of weights.

Source: Zhang et al., "Neural Network Surgery", NAACL 2021; its methods are those of the attack of the same name, here
with clean examples in place of triggered ones. Reconstructed, as there.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hauberk.attacks.tampers.surgery import Method
from hauberk.attacks.tampers.surgery import Surgery as Operation
from hauberk.clients.session import Session
from hauberk.server.assets import ServerAssets
from hauberk.server.repairs._tuning import TuningRepair
from hauberk.server.repairs.base import Report
from hauberk.tasks.parameters import flatten, load_state, state_of
from hauberk.tasks.seeds import seeded


@dataclass(frozen=True, kw_only=True)
class Surgery(TuningRepair):
    """Tunes a budget of the weights on the server's clean examples; the others stay bit by bit.

    Args:
        budget: how many may change: below 1 a share of the parameters, from 1 on a count.
        method: how they are chosen; see the attack.
    """

    budget: float = 1e-3
    method: Method = "dynamic"

    def __post_init__(self) -> None:
        """Refuses what the operation refuses."""
        super().__post_init__()
        self._operation(1)

    def __call__(self, parameters: Tensor, assets: ServerAssets) -> tuple[Tensor, Report]:
        """Returns the tuned parameters [n_params] and how many differ."""
        if not self.epochs:
            return parameters.clone(), {}
        load_state(assets.model, parameters)
        session = Session(
            task=assets.task,
            model=assets.model,
            data=assets.encode(assets.clean),
            training=self.training(assets, len(assets.clean)),
            rng=assets.rng,
            device=assets.device,
        )
        with seeded(assets.rng):
            report = self._operation(len(assets.clean)).train(session)
        return flatten(state_of(assets.model, copy=False)).cpu(), dict(report)

    def _operation(self, n_examples: int) -> Operation:
        return Operation(method=self.method, budget=self.budget, epochs=self.n_epochs(n_examples))
