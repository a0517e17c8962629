"""A small market in files."""

import pytest

from hauberk.tasks.stocks.datasets import Files
from tests.helpers.small_market import small_market


@pytest.fixture(scope="session")
def market(tmp_path_factory):
    """The data set of a small market."""
    table = small_market(tmp_path_factory.mktemp("market"))
    return Files(**{key: value for key, value in table.items() if key != "name"})
