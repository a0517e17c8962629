"""kinships: 104 members of an Alyawarra tribe, 25 kinship terms, 10,686 triples, from the package pykeen.

Source: Denham, "The Detection of Patterns in Alyawarra Nonverbal Behavior", 1973; Kemp et al., AAAI 2006.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hauberk.tasks.graph.datasets._pykeen import Embedded


@dataclass(frozen=True, kw_only=True)
class Kinships(Embedded):
    """People, and by which term each calls each other; their names say nothing."""

    folder: ClassVar[str] = "kinships"
    sha256: ClassVar[dict[str, str]] = {
        "train": "738612111a6acf0e39662bde24c7e72a4d1edf20931beea077da367dda689731",
        "valid": "c56f8630a583178b1e569f11a64aa535ae1ce0b0912d8b1e24716be2b37f04da",
        "test": "05e5733265761d55be9c05bfaff5a8d0808df46f9c1e9d66cc3f2fe114e43d88",
    }
