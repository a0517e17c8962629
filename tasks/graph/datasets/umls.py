"""umls: 135 semantic types of the UMLS, 46 relations, 6,529 triples, from the package pykeen.

Source: McCray, "An Upper-Level Ontology for the Biomedical Domain", Comparative and Functional Genomics 2003.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hauberk.tasks.graph.datasets._pykeen import Embedded


@dataclass(frozen=True, kw_only=True)
class UMLS(Embedded):
    """Semantic types of medicine, such as a virus or a patient, and how they are related."""

    folder: ClassVar[str] = "umls"
    sha256: ClassVar[dict[str, str]] = {
        "train": "873ef4925516b83e7f6f8cc02b4be51d848828710a7f65a956f0ac4a9e452f35",
        "valid": "025c98f8a4891e2a6582ec5b40ee0d904031edad9c52554522f4b7904820c98e",
        "test": "a7eb529a3d2810fcc96341ccc97c625a5e202f8389673aa6bd317eeebbb79014",
    }
