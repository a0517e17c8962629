"""One attack: at most one of each kind, composed, and when it happens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

from torch import nn

from hauberk.attacks.forges.base import Forge
from hauberk.attacks.poisons.base import DataPoison
from hauberk.attacks.schedules import Always, Schedule
from hauberk.attacks.tampers.base import Tamper
from hauberk.attacks.threat_model import declared_knowledge
from hauberk.tasks.errors import UserError
from hauberk.tasks.text.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class Attack:
    """What every malicious client of an experiment does.

    Args:
        poison: changes what it trains on.
        tamper: changes how it trains and what it makes of its update.
        forge: rewrites the updates of all colluders (in simulation only).
        scale: what the update that results, forged or not, is multiplied by before it is sent: a liar whose update is
            longer or shorter than the others' may so take their length.
        keep_plugins: whether it still runs the defence plugins that honest clients run.
        schedule: in which rounds, and whether always the same clients.
    """

    poison: DataPoison | None = None
    tamper: Tamper | None = None
    forge: Forge | None = None
    scale: float = 1.0
    keep_plugins: bool = False
    schedule: Schedule = field(default_factory=Always)

    def __post_init__(self) -> None:
        if not self.parts:
            raise UserError("attack: needs at least one of poison, tamper and forge, got none")
        if not 0 < self.scale < inf:
            raise UserError(f"attack.scale: must be above 0 and finite, got {self.scale!r}")

    @property
    def parts(self) -> tuple[DataPoison | Tamper | Forge, ...]:
        """The kinds that are given."""
        return tuple(part for part in (self.poison, self.tamper, self.forge) if part is not None)

    @property
    def knowledge(self) -> str:
        """The strongest knowledge that a part of it declares, and whose paraphrases it holds beside that."""
        return declared_knowledge(part.knowledge for part in self.parts)

    def attackers(self, round: int, *, n_clients: int, n_malicious: int, seed: int) -> tuple[int, ...]:
        """Returns the ids of the clients that attack in ``round``, ascending; a pure function.

        Raises:
            UserError: if there are more attackers than clients.
        """
        return self.schedule.attackers(round, n_clients=n_clients, n_malicious=n_malicious, seed=seed)

    def bind(self, splits: Any) -> Attack:
        """Returns this attack with the files read that it names: what workers and the evaluation are given.

        Raises:
            UserError: if a file does not fit the data.
        """
        return self if self.poison is None else replace(self, poison=self.poison.bind(splits))

    def check(
        self,
        labels: Sequence[str],
        tokenizer: Tokenizer | None = None,
        model: nn.Module | None = None,
        *,
        n_clients: int | None = None,
        n_malicious: int | None = None,
        rounds: int | None = None,
    ) -> list[str]:
        """Returns warnings, one line each; what is not known yet (``None``) is not checked.

        Args:
            labels: the names of the classes.
            tokenizer: what will read the triggers.
            model: the model to be attacked.
            n_clients: how many clients a round asks.
            n_malicious: how many of them attack, as far as can be expected.
            rounds: how many rounds there are.

        Raises:
            UserError: if this attack is impossible on these data, this model or this federation.
        """
        warnings = [] if self.poison is None else self.poison.check(labels, tokenizer)
        if self.tamper is not None and model is not None:
            poison: Any = self.poison  # what a tamper needs of it, its modality says
            warnings += self.tamper.check(model, poison, tokenizer)
        if self.forge is not None and n_clients is not None and n_malicious is not None:
            warnings += self.forge.check(n_clients, n_malicious)
        if rounds is not None:
            warnings += self.schedule.check(rounds)
        return warnings
