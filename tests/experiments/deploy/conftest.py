"""One deployment on loopback that all its tests share: a server, two honest clients and a malicious one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.deployment import deploy, here, logs, make
from tests.helpers.tweets import small_tables


@pytest.fixture(scope="session")
def job(tweets) -> dict:
    """The experiment that is deployed."""
    tables = small_tables(tweets)
    tables["federation"] = {"n_clients": 3, "n_malicious": 1, "rounds": 2}
    tables["engine"] = {"name": "inline", "node_wait_s": 300, "round_timeout_s": 600}
    return tables


@pytest.fixture(
    scope="module"
)  # not longer: also at rest its nodes ask for work, which costs the tests after it
def deployment(job, tmp_path_factory) -> Path:
    """The folder of a deployment whose parts run."""
    folder = make(job, tmp_path_factory.mktemp("deployment") / "trial")
    try:
        code, text = deploy("up", folder)
        assert code == 0, f"{text}\n{logs(folder)}"
        yield folder
    finally:
        here("down", folder)
