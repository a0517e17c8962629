"""``--set NAME.key=value`` of the commands that look at a finished run: one value of a component that they name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy

from hauberk.experiments.components import Component
from hauberk.experiments.spec import assign
from hauberk.tasks.errors import UserError


def changed(components: Mapping[str, Component], changes: Sequence[str], kind: str) -> dict[str, Component]:
    """Returns ``components``, by name, with ``changes`` made in them.

    Raises:
        UserError: a change is for another component, or does not look like ``name.key=value``; ``kind`` says of what.
    """
    found = deepcopy(dict(components))
    for change in changes:
        if change.partition(".")[0] not in found:
            raise UserError(
                f"--set {change}: must begin with one of the {kind} asked for, {', '.join(found)}"
            )
        assign(found, change)
    return found
