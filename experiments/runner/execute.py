"""Runs one experiment: prepare, play its rounds on an engine, and leave a folder that says what happened."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from hauberk.attacks import Attack
from hauberk.experiments.engines.base import Engine
from hauberk.experiments.engines.by_name import engine_of
from hauberk.experiments.runner.data import Data, SharedData, data_of
from hauberk.experiments.runner.finalize import Result, finalize
from hauberk.experiments.runner.lock import locked
from hauberk.experiments.runner.progress import Quiet, Screen, TwinScreen
from hauberk.experiments.runner.recorder import Recorder
from hauberk.experiments.runner.replacements import Replacements
from hauberk.experiments.runner.run_dir import RunDir, holds_run
from hauberk.experiments.runner.setup import Prepared, prepare
from hauberk.experiments.runner.signals import interruptible, stoppable
from hauberk.experiments.runner.tracked import tracked
from hauberk.experiments.runner.twin import (
    has_twin,
    model_store,
    natural_rates,
    share_as_twin,
    twin_to_share,
)
from hauberk.experiments.spec import loader
from hauberk.experiments.spec.loader import Spec
from hauberk.server.round import RoundFailed
from hauberk.server.run_rounds import run_rounds
from hauberk.server.state import ServerState
from hauberk.server.update_store import keep


def run(
    spec: Spec | Mapping[str, Any] | str | Path,
    *,
    aggregator: Any = None,
    attack: Attack | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    screen: Screen | None = None,
    address: str | None = None,
    shared: SharedData | None = None,
) -> Result:
    """Runs ``spec`` and returns its result; a run that is finished already is not run again.

    Args:
        spec: a spec, its tables, or the path of its file.
        aggregator: a rule of your own, in place of the one that the spec names.
        attack: an attack of your own, likewise.
        out: the run's folder; default ``runs/<name>-<hash8>``.
        resume: go on from the folder's last checkpoint.
        screen: who shows the progress; default nobody.
        address: of the Ray cluster: ``auto`` (what ``ray start`` started here), ``host:port`` or
            ``ray://host:port``; by default RAY_ADDRESS, or else a Ray of the run's own. A session that this process
            has open is used and left open.
        shared: what the runs of one benchmark share. Where nobody lies, the model of each round is kept for the
            attacked runs beside this one, whose twin it is.

    Raises:
        UserError: the spec, its data or the folder make the run impossible.
        RoundFailed: a round had too few usable updates; the rounds before it are kept.
        Stopped: the run was interrupted; its last checkpoint is kept.
    """
    spec, own = _spec(spec), Replacements(aggregator=aggregator, attack=attack)
    path = Path(out or Path("runs") / f"{spec.name}-{own.hash(spec)[:8]}")
    make_engine = partial(engine_of, spec, address=address)
    return run_on(make_engine, spec, path, screen or Quiet(), own=own, resume=resume, shared=shared)


def run_on(
    make_engine: Callable[[threading.Event], Engine],
    spec: Spec,
    path: Path,
    screen: Screen,
    *,
    own: Replacements = Replacements(),  # noqa: B008  (frozen)
    resume: bool = False,
    shared: SharedData | None = None,
    data: Data | None = None,
) -> Result:
    """Runs ``spec`` as `run` does, in the folder ``path``, on the engine that ``make_engine`` makes.

    The engine is made for an event that ends it, and before the data are read: what it starts can start meanwhile. Only
    where the folder holds a run already, the data must first say whether it is this one.
    """
    data = data or (shared.of(spec) if shared else data_of(spec))
    folder = cache(lambda: RunDir(path, own.identity(spec, data.splits), own.described()))
    if holds_run(path) and folder().finished:
        return Result(path, folder().summary or {})
    with locked(path):
        state = folder().look(spec, resume=resume) if holds_run(path) else None
        with stoppable() as stop, make_engine(stop) as engine:
            screen.begin(spec, own.parts(spec), state.round if state else 0, engine.name)
            prepared = prepare(spec, aggregator=own.aggregator, attack=own.attack, data=data)
            twin = twin_to_share(prepared, folder().identity, path.parent) if shared else None
            return execute(prepared, engine, folder(), screen, state, twin)


def execute(
    prepared: Prepared,
    engine: Engine,
    folder: RunDir,
    screen: Screen,
    state: ServerState | None = None,
    twin: RunDir | None = None,
) -> Result:
    """Plays the rounds after ``state`` (None: all of them) on ``engine``, and finishes the run.

    Args:
        prepared: the run.
        engine: where its clients train.
        folder: the run's.
        screen: who shows it.
        state: where it goes on.
        twin: the folder in which this run is left as the twin of others, where it is to be one.
    """
    prepared.check()
    prepared = replace(prepared, server=replace(prepared.server, keep=partial(keep, folder.path)))
    prepared = prepared.spread_by(engine.spread)
    screen.ready(prepared)
    with tracked(prepared, folder, screen, state.round if state else 0) as shown:
        natural = {}
        if has_twin(prepared):
            play = partial(play_twin, engine, shown)
            natural = natural_rates(prepared, folder.identity, folder.path.parent, play)
        models = model_store(prepared, twin) if twin else None
        recorder = Recorder(folder, shown, engine, prepared.server, state, natural=natural, models=models)
        last = _play(prepared, engine, folder, recorder, state)
        if not prepared.server.repairs.at_end:  # which its workers may share
            engine.close()
        with interruptible(engine.stop):
            result = finalize(prepared, last, folder, shown, engine.name)
        shown.finished(result.summary)
    if twin:
        share_as_twin(folder, prepared.spec, twin)
    return result


def _play(
    prepared: Prepared, engine: Engine, folder: RunDir, recorder: Recorder, state: ServerState | None
) -> ServerState:
    """Plays the rounds after ``state`` and returns the last state; a round that fails is recorded."""
    dispatch, start, spec = engine.dispatch(prepared), state or prepared.start, prepared.spec
    measure = engine.measure(prepared)
    folder.begin(spec, start.round)
    with closing(recorder):
        recorder.started()
        if start.round and (line := folder.unrecorded(start.round)):
            recorder.recover(line, measure(start))
        try:
            last = run_rounds(
                prepared.server,
                start,
                dispatch,
                measure,
                spec.federation.rounds,
                spec.server.threads,
                recorder,
            )
        except RoundFailed as error:
            recorder.failed(error)
            raise
        recorder.finished()
    return last


def play_twin(engine: Engine, screen: Screen, twin: Prepared, folder: RunDir) -> None:
    """Plays an attack-free twin to its end, or goes on where it was stopped, and keeps the model of each round."""
    state = folder.look(twin.spec, resume=True)
    models = model_store(twin, folder)
    honest = engine.for_twin()
    shown = TwinScreen(screen, twin.spec.federation.rounds)
    recorder = Recorder(folder, shown, honest, twin.server, state, models=models)
    last = _play(twin, honest, folder, recorder, state)
    with interruptible(engine.stop):
        finalize(twin, last, folder, Quiet(), honest.name)


def _spec(spec: Spec | Mapping[str, Any] | str | Path) -> Spec:
    if isinstance(spec, Spec):
        return spec
    return loader.parse(spec) if isinstance(spec, Mapping) else loader.load(spec)
