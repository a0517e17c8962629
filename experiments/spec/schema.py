"""The JSON Schema of an experiment file, by which editors complete it and mark mistakes while it is written."""

from __future__ import annotations

from typing import Any

from hauberk.experiments.spec.component_schema import inlined
from hauberk.experiments.spec.loader import Spec

DRAFT = "http://json-schema.org/draft-07/schema#"  # the newest that editors of TOML read


def spec_schema() -> dict[str, Any]:
    """Returns the JSON Schema of a spec; each name of a component takes its own parameters and no others.

    It knows keys, names and kinds of values. Which numbers are possible, and whether the parts of a spec fit each
    other, is found out when the spec is read.
    """
    return {"$schema": DRAFT, "title": "hauberk", **inlined(Spec.model_json_schema())}
