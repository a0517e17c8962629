import pytest

from hauberk.experiments import run
from hauberk.experiments.runner.finished import read_finished
from tests.helpers.tweets import small_tables


@pytest.fixture(scope="module")
def trained(tweets, tmp_path_factory):
    """A finished run whose server has 20 clean examples."""
    tables = small_tables(tweets)
    tables["server"] = {"twin": False, "clean": {"n_examples": 20}}
    tables["federation"]["rounds"] = 2
    return read_finished(run(tables, out=tmp_path_factory.mktemp("trained") / "run").folder)
