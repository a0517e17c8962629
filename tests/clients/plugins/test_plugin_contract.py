"""Every plugin passes every one of these; a new plugin is one line in PLUGINS."""

import math
import pickle
from dataclasses import FrozenInstanceError, replace
from types import SimpleNamespace

import pytest
import torch

from hauberk.clients import PLUGINS, Training, train
from hauberk.clients.plugins import Plugin
from hauberk.strategies import Guard, layout_of
from hauberk.strategies.guard import bytes_of
from hauberk.tasks.errors import UserError
from hauberk.tasks.parameters import state_of


@pytest.fixture(scope="module", params=PLUGINS.values(), ids=PLUGINS)
def plugin(request):
    """Each plugin with its defaults; one whose extra is not installed is skipped."""
    try:
        return request.param()
    except UserError as error:
        if "pip install" not in str(error):
            raise
        pytest.skip(str(error))


def trained(job, plugins, state=None):
    session = job.session(Training(batch_size=8, plugins=plugins), state=dict(state or {}))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        report = train(session)
    return session, report


@pytest.fixture(scope="module")
def once(job, plugin):
    """A session and its report after one training, which no test changes, and the plugin pickled before it."""
    before = pickle.dumps(plugin)
    session, report = trained(job, (plugin,))
    return SimpleNamespace(session=session, report=report, before=before)


def test_it_trains_with_finite_weights_and_a_finite_report(once):
    session, report = once.session, once.report
    assert all(value.isfinite().all() for value in state_of(session.model).values())
    assert all(math.isfinite(value) for value in report.values())
    moved = [
        not torch.equal(value, session.reference[name]) for name, value in state_of(session.model).items()
    ]
    assert any(moved)


def test_the_same_session_gives_the_same_bits(job, plugin, once):
    first, second = (state_of(each.model) for each in (once.session, trained(job, (plugin,))[0]))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_it_keeps_nothing_on_itself(plugin, once):
    assert pickle.dumps(plugin) == once.before


def test_it_leaves_the_reference_alone(job, once):
    fresh = state_of(job.task.build(job.seed))
    assert all(torch.equal(once.session.reference[name], fresh[name]) for name in fresh)


def test_its_state_can_travel(job, plugin, once):
    state = once.session.state
    again, _ = trained(job, (plugin,), pickle.loads(pickle.dumps(state)))
    assert again.state.keys() == state.keys()
    assert all(isinstance(key, str) for key in state)


def test_what_it_wants_back_and_reports_is_within_the_guards_default(once):
    session = once.session
    layout = layout_of(session.reference)
    assert Guard().state(session.state, layout) is None
    assert sum(value.nbytes for value in session.state.values() if torch.is_tensor(value)) < bytes_of(layout)
    assert Guard().report(once.report) is None


def test_what_it_reports_is_named_after_it(plugin, once):
    name = next(name for name, cls in PLUGINS.items() if cls is type(plugin))
    assert all(key == "loss" or key.startswith(f"{name}/") for key in once.report)


def test_it_gives_the_same_bits_on_active_rows(job, plugin, optimizer, bits):
    training = Training(batch_size=4, optimizer=optimizer, plugins=(plugin,))
    small, whole = (
        job.worker(compact=compact).fit(job.instruction(training=training)) for compact in (True, False)
    )
    assert bits(small, whole)


def test_it_is_a_value(plugin):
    assert isinstance(plugin, Plugin)
    assert pickle.loads(pickle.dumps(plugin)) == plugin
    assert hash(plugin) == hash(replace(plugin))
    with pytest.raises(FrozenInstanceError):
        plugin.owns_step = True


def test_a_misspelt_parameter_is_refused(plugin):
    with pytest.raises(TypeError, match="strenght"):
        type(plugin)(strenght=1.0)
