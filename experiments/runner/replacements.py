"""What a caller of `run` gives in Python in place of what the spec names, and how the records tell of it."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import Any

from hauberk.attacks import Attack
from hauberk.experiments.runner.identity import Identity, identity_of
from hauberk.experiments.spec.build import Parts
from hauberk.experiments.spec.loader import Spec
from hauberk.tasks.digest import digest_of
from hauberk.tasks.errors import UserError

LONGEST = 200  # characters of a description


@dataclass(frozen=True, kw_only=True)
class Replacements:
    """Parts of a caller's own.

    Args:
        aggregator: a rule in place of the spec's.
        attack: an attack in place of the spec's.
    """

    aggregator: Any = None
    attack: Attack | None = None

    def parts(self, spec: Spec) -> Parts:
        """Returns the parts that really run."""
        return dataclasses.replace(spec.parts, **self._given())

    def hash(self, spec: Spec) -> str:
        """Returns the hash of what the run computes.

        Raises:
            UserError: a part has no content that another process could tell, so that a resumed run could not be
                known for the same.
        """
        if not self._given():
            return spec.hash
        keys = [f"{name} {_key(name, part)}" for name, part in self._given().items()]
        return hashlib.sha256(" ".join([spec.hash, *keys]).encode()).hexdigest()

    def identity(self, spec: Spec, splits: Any) -> Identity:
        """Returns the identity of the run of ``spec`` on the data ``splits``; raises UserError as `hash` does."""
        return identity_of(self.hash(spec), splits, spec.device)

    def described(self) -> dict[str, str]:
        """Returns each part in one line, for the records."""
        return {name: " ".join(repr(part).split())[:LONGEST] for name, part in self._given().items()}

    def _given(self) -> dict[str, Any]:
        given = {"aggregator": self.aggregator, "attack": self.attack}
        return {name: part for name, part in given.items() if part is not None}


def _key(name: str, part: Any) -> str:
    try:
        return digest_of(part)
    except TypeError as error:
        raise UserError(
            f"{name}: {error}, so a later process could not tell that it is the same; make it a dataclass, or give it "
            "a hash_key that says all of its settings"
        ) from None
