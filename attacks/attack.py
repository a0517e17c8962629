"""One attack: at most one of each kind, composed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from hauberk.attacks.forge import Forge
from hauberk.attacks.knowledge import strongest
from hauberk.attacks.poison import Poison
from hauberk.attacks.tamper import Tamper
from hauberk.tasks.errors import UserError
from hauberk.tasks.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class Attack:
    """What every malicious client of an experiment does.

    Args:
        poison: changes what it trains on.
        tamper: changes how it trains and what it makes of its update.
        forge: rewrites the updates of all colluders (in simulation only).
        keep_plugins: whether it still runs the defence plugins that honest clients run.
    """

    poison: Poison | None = None
    tamper: Tamper | None = None
    forge: Forge | None = None
    keep_plugins: bool = False

    def __post_init__(self) -> None:
        if not self.parts:
            raise UserError("attack: needs at least one of poison, tamper and forge, got none")

    @property
    def parts(self) -> tuple[Poison | Tamper | Forge, ...]:
        """The kinds that are given."""
        return tuple(part for part in (self.poison, self.tamper, self.forge) if part is not None)

    @property
    def knowledge(self) -> str:
        """The strongest knowledge that a part of it declares."""
        return strongest(part.knowledge for part in self.parts)

    def check(
        self,
        labels: Sequence[str],
        tokenizer: Tokenizer | None = None,
        model: nn.Module | None = None,
    ) -> list[str]:
        """Returns warnings, one line each; what is not known yet (``None``) is not checked.

        Args:
            labels: the names of the classes.
            tokenizer: what will read the triggers.
            model: the model to be attacked.

        Raises:
            UserError: if this attack is impossible on these data or this model.
        """
        warnings = [] if self.poison is None else self.poison.check(labels, tokenizer)
        if self.tamper is not None and model is not None:
            warnings += self.tamper.check(model, self.poison, tokenizer)
        return warnings
