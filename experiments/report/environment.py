"""The templates of a report."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import jinja2

from hauberk.experiments.report import phrases

TEMPLATES = Path(__file__).parent / "templates"


@cache
def environment() -> jinja2.Environment:
    """Returns the templates with their filters; all but Markdown escape: names and reasons come from files."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=lambda name: not str(name).endswith(".md.j2"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    found.filters.update(phrases.FILTERS)
    return found
