"""Whether runs in this process end with a picture: hundreds of tests have runs, and few look at their pictures."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hauberk.experiments.report.plots import can_draw
from hauberk.experiments.runner import finalize


@contextmanager
def pictures(*, drawn: bool = True) -> Iterator[None]:
    """Has runs draw their pictures, or not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(finalize, "can_draw", can_draw if drawn else lambda: False)
        yield
