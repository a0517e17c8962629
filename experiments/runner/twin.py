"""The attack-free twin of a run: the same seed, data and rule, and nobody lies.

What a trigger does to an honest model is no backdoor: the rate at which the twin answers the triggered examples as the
attacker wants, the natural rate, is what an attack success rate has to be read against. A twin is an ordinary run in
the folder ``.twins`` beside the runs, played once and shared by all that have the same one; it keeps the model of each
round, so that every trigger can be put to it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from safetensors.torch import load_file, save

from hauberk.experiments.runner.identity import Identity
from hauberk.experiments.runner.run_dir import CHECKPOINT, RunDir
from hauberk.experiments.runner.setup import Prepared
from hauberk.experiments.spec.loader import Spec
from hauberk.server import checkpoint
from hauberk.server.durable import write_whole
from hauberk.server.serving import predictor
from hauberk.server.state import ServerState
from hauberk.strategies.serving import serves
from hauberk.tasks.digest import digest_of

TWINS = ".twins"
MODELS = "models"
SERVED = "served"  # beside the models: the last state of a rule that answers with more than the model
MAX_BYTES = 4e9  # of the models that one twin keeps: beyond it, every k-th round's alone
Play = Callable[[Prepared, RunDir], Any]


def has_twin(prepared: Prepared) -> bool:
    """Whether this run has a natural rate: somebody lies, and there are triggered examples."""
    return prepared.spec.server.twin and prepared.server.evaluate.triggered is not None


def twin_spec(spec: Spec) -> Spec:
    """Returns the spec of the twin: no attack, and nothing that is done to the final model alone."""
    during = [repair for repair in spec.repairs if repair.get("every")]
    return spec.model_copy(update={"attack": None, "detectors": [], "repairs": during})


def twin_of(prepared: Prepared) -> Prepared:
    """Returns the same run in which nobody lies."""
    before = prepared.server
    steps = {name: step for name, step in before.repairs.steps.items() if step.every is not None}
    server = replace(
        before,
        attack=None,
        n_malicious=0,
        evaluate=replace(before.evaluate, triggered=None, rows=None, success=None),
        repairs=replace(before.repairs, steps=steps),
        keep_rounds=frozenset(),
    )
    worker = replace(prepared.worker, attack=None, n_malicious=0)
    return replace(prepared, spec=twin_spec(prepared.spec), server=server, worker=worker, warnings=[])


def twin_dir(prepared: Prepared, identity: Identity, beside: Path) -> RunDir:
    """Returns the folder of the twin of the run ``identity``, for runs in the folder ``beside``.

    All that have the same twin have the same one.
    """
    spec = digest_of([twin_spec(prepared.spec).hash, prepared.server.aggregate])
    identity = {**identity, "spec": spec}
    return RunDir(beside / TWINS / digest_of(identity)[:16], identity)


def twin_to_share(prepared: Prepared, identity: Identity, beside: Path) -> RunDir | None:
    """Returns the folder of the twin that the run ``identity`` itself is; None where it is no twin, or need not be.

    A benchmark's cell in which nobody lies would else be played twice: as itself and as the twin of the others.
    """
    if prepared.server.attack or twin_spec(prepared.spec) != prepared.spec or not prepared.spec.server.twin:
        return None
    folder = twin_dir(prepared, identity, beside)
    if folder.summary or (folder.path / CHECKPOINT).exists():  # played already, or begun by another run
        return None
    folder.begin(prepared.spec, 0)
    return folder


def share_as_twin(run: RunDir, spec: Spec, twin: RunDir) -> None:
    """Makes the finished ``run``, whose models are in ``twin`` already, the twin of all that have the same one."""
    twin.begin(spec, 0)
    for line in run.rounds():
        twin.record(line)
    summary = run.summary or {}
    twin.finish({name: value for name, value in summary.items() if name != "identity"})


def natural_rates(prepared: Prepared, identity: Identity, beside: Path, play: Play) -> dict[int, float]:
    """Returns the natural rate after each round, by the round's number.

    Args:
        prepared: the run whose trigger is put to its twin.
        identity: of that run.
        beside: the folder in which the run's own folder is.
        play: plays the twin into its folder; called with the folder locked, and only where it is not finished.
    """
    folder = twin_dir(prepared, identity, beside)
    folder.path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.path.with_suffix(".lock")):
        if folder.summary is None:
            play(twin_of(prepared), folder)
        rates = folder.path / "natural" / f"{_trigger_digest(prepared)}.json"
        if not rates.exists():
            rates.parent.mkdir(exist_ok=True)
            write_whole(rates, json.dumps(_measured(prepared, folder.path / MODELS)).encode())
    return {int(number): rate for number, rate in json.loads(rates.read_bytes()).items()}


def model_store(prepared: Prepared, folder: RunDir) -> ModelStore:
    """Returns where the models of a twin are kept."""
    whole = serves(prepared.server.aggregate)
    return ModelStore(
        folder.path, prepared.spec.federation.rounds, len(prepared.start.parameters), whole=whole
    )


def model_name(number: int) -> str:
    """Returns the name of the file in which the model after round ``number`` is kept."""
    return f"round-{number:04d}.safetensors"


class ModelStore:
    """Keeps a run's model after each round, for the triggers that will be put to it.

    Args:
        folder: the run's.
        rounds: how many there will be.
        n_params: of the model.
        whole: whether the rule answers with more than the model: then the last round's state is kept whole, and no
            other, since it may be many times as large.
    """

    def __init__(self, folder: Path, rounds: int, n_params: int, *, whole: bool = False) -> None:
        self._folder, self._rounds, self._whole = folder / MODELS, rounds, whole
        self._every = max(1, round(rounds * n_params * 4 / MAX_BYTES))

    def keep(self, state: ServerState) -> None:
        """Writes the parameters after a round, or not where they would be too many."""
        last = state.round == self._rounds
        if last or (state.round % self._every == 0 and not self._whole):
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(self._folder / model_name(state.round), save({"parameters": state.parameters}))
        if last and self._whole:
            checkpoint.save(self._folder / SERVED, replace(state, clients={}), {})


def _measured(prepared: Prepared, models: Path) -> dict[int, float]:
    server = prepared.server
    return {
        state.round: server.evaluate.attack_success(predictor(server, state))
        for state in kept_models(prepared, models)
    }


def kept_models(prepared: Prepared, models: Path) -> Iterator[ServerState]:
    """Yields what a twin has kept of its rounds, as far as it matters to what answers."""
    names = sorted(models.glob("round-*.safetensors"))
    for number in (int(path.stem.removeprefix("round-")) for path in names):
        if (state := kept_model(prepared, models, number)) is not None:
            yield state


def kept_model(prepared: Prepared, models: Path, number: int) -> ServerState | None:
    """Returns what a twin has kept of round ``number``; None where that is not enough to answer as it did then."""
    if serves(prepared.server.aggregate):
        last = checkpoint.load(models / SERVED, {})
        return last if last and last.round == number else None
    path = models / model_name(number)
    return ServerState(number, load_file(path)["parameters"]) if path.exists() else None


def _trigger_digest(prepared: Prepared) -> str:
    """Names the triggered examples and what the attacker wants of them."""
    attack = prepared.server.attack
    digest = hashlib.sha256(repr(attack and attack.poison and attack.poison.wanted).encode())
    triggered: Any = prepared.server.evaluate.triggered
    for field in fields(triggered):
        value = getattr(triggered, field.name)
        digest.update(value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode())
    return digest.hexdigest()[:16]
