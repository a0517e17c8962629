"""Surgery as a repair: clean data are learned by changing a bounded number of weights.

Source: Zhang et al., "Neural Network Surgery", NAACL 2021; the methods are those of `hauberk.tasks.surgery`, as of the
attack of the same name, here with clean examples in place of triggered ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from hauberk.server.assets import ServerAssets
from hauberk.server.repairs._tuning import TuningRepair
from hauberk.server.repairs.base import Report
from hauberk.tasks.parameters import flatten, load_state, state_of
from hauberk.tasks.seeds import seeded
from hauberk.tasks.surgery import Method, SurgicalTraining
from hauberk.tasks.text.consistency import answers_compared


@dataclass(frozen=True, kw_only=True)
class Surgery(TuningRepair):
    """Tunes a budget of the weights on the server's clean examples; the others stay bit by bit.

    Args:
        budget: how many may change: below 1 a share of the parameters, from 1 on a count.
        method: how they are chosen; see ``SurgicalTraining``.
    """

    modality: ClassVar[str | None] = "text"

    budget: float = 1e-3
    method: Method = "dynamic"

    def __post_init__(self) -> None:
        """Refuses what surgery refuses."""
        super().__post_init__()
        self._training(1)

    def __call__(self, parameters: Tensor, assets: ServerAssets) -> tuple[Tensor, Report]:
        """Returns the tuned parameters [n_params] and how many differ."""
        if not self.epochs:
            return parameters.clone(), {}
        load_state(assets.model, parameters)
        session = self.session(assets, assets.encode(assets.clean), self.training(assets, len(assets.clean)))
        with seeded(assets.rng), answers_compared(session, session.data) as found:
            report = self._training(len(assets.clean)).operate(session)
        return flatten(state_of(assets.model, copy=False)).cpu(), {**report, **found}

    def _training(self, n_examples: int) -> SurgicalTraining:
        return SurgicalTraining(method=self.method, budget=self.budget, epochs=self.n_epochs(n_examples))
