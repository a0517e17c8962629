"""Runs that share their data compute what they compute alone."""

from __future__ import annotations

from hauberk.experiments import run
from hauberk.experiments.runner.data import SharedData
from hauberk.experiments.spec.loader import parse


def test_runs_that_share_their_data_have_the_bits_of_runs_that_do_not(tables, tmp_path):
    tables["federation"]["rounds"] = 1
    shared = SharedData()
    for rule in ("fedavg", "median", "fedavg"):
        spec = {**tables, "aggregator": {"name": rule}}
        together = run(spec, out=tmp_path / "together" / rule, shared=shared).summary
        alone = run(spec, out=tmp_path / "alone" / rule).summary
        assert together["model_sha256"] == alone["model_sha256"]
        assert together["final"] == alone["final"]


def test_the_last_data_alone_are_kept(tables):
    shared = SharedData(most=2)
    specs = [parse({**tables, "seed": seed}) for seed in (0, 1, 2)]
    first = shared.of(specs[0])
    assert shared.of(parse({**tables, "aggregator": {"name": "median"}})) is first
    assert shared.of(specs[1]) is not first
    assert shared.of(specs[0]) is first
    shared.of(specs[2])
    assert shared.of(specs[0]) is first
    kept = shared.of(specs[2])
    clean = parse({**tables, "server": {"clean": {"n_examples": 5}}})
    assert shared.of(clean) is not first
    assert shared.of(specs[2]) is kept
