"""nations: 14 countries, 55 relations, 1,992 triples, from the package pykeen.

Source: Rummel, "Dimensionality of Nations Project", 1992; Kemp et al., AAAI 2006.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hauberk.tasks.graph.datasets._pykeen import Embedded


@dataclass(frozen=True, kw_only=True)
class Nations(Embedded):
    """Countries of the 1950s, and what they did to each other."""

    folder: ClassVar[str] = "nations"
    sha256: ClassVar[dict[str, str]] = {
        "train": "0830fa9da8e5bba2ccdaa45b7bdc9130451ba66b09ff2708f35fccaf82473e57",
        "valid": "2b337a62e51a2f45c283eac98a70d21b7e0e102136be1539b2a52c652a7b0530",
        "test": "3971085165b47b6aeaec68058c6d8d98b3005e929db81268410b95ae4db770ab",
    }
