"""Every tamper passes every one of these; a new tamper is one line in TAMPERS."""

import pickle
from dataclasses import FrozenInstanceError, replace

import pytest
import torch
from torch import nn
from torch.utils import _pytree as pytree

from hauberk.attacks import KNOWLEDGE, TAMPERS, Attack, BadSentence, BadWord, Tamper
from hauberk.attacks.tampers._trigger_rows import TriggerRows
from hauberk.clients import Training
from hauberk.clients.optimizers import Adam
from hauberk.strategies import Guard, layout_of
from hauberk.strategies.guard import bytes_of
from hauberk.tasks.errors import UserError
from hauberk.tasks.text.models import Gru, Transformer
from hauberk.tasks.text.tokenizer import WordPiece

SMALL = {
    "dfep": {"n_samples": 8, "corpus": __file__},
    "surgery": {"budget": 40},
    "neurotoxin": {"ratio": 0.9999},  # of a table of which few rows are in use
    "dim_krum_penalty": {"ratio": 0.01},
}
TAMPERING = [cls(**SMALL.get(name, {})) for name, cls in TAMPERS.items()]
POISON = BadWord(words=("cf",), target=1)
each = pytest.mark.parametrize("tamper", TAMPERING, ids=lambda tamper: type(tamper).__name__)
LABELS = ("bad", "good")


@each
def test_it_trains_something_finite_and_reports_numbers(tamper, arena):
    report, update = arena.run(tamper, arena.session(POISON))
    assert update.any()
    assert update.isfinite().all()
    assert all(isinstance(value, float) for value in report.values())


@each
def test_the_session_is_as_before_but_for_the_model(tamper, arena):
    session = arena.session(POISON)
    names = ("optimizer", "batches", "loss", "training", "data", "poison", "examples")
    before = {name: getattr(session, name) for name in names}
    received = {name: value.clone() for name, value in session.reference.items()}
    arena.run(tamper, session)
    assert all(getattr(session, name) is before[name] for name in names)
    assert all(torch.equal(session.reference[name], received[name]) for name in received)
    assert all(parameter.requires_grad for parameter in session.model.parameters())
    assert not session.model.embedding._forward_hooks
    assert not session.optimizer._optimizer_step_pre_hooks
    assert not session.optimizer._optimizer_step_post_hooks


@each
def test_the_same_generators_give_the_same_model(tamper, arena):
    first, second = (arena.run(tamper, arena.session(POISON)) for _ in range(2))
    assert torch.equal(first[1], second[1])
    assert first[0] == second[0]


@each
@pytest.mark.parametrize("config", [Gru(embedding_dim=8, hidden=4), Transformer(embedding_dim=8, hidden=8)])
def test_it_works_on_other_models(tamper, config, arena):
    other = type(arena)(config)
    assert arena.run(tamper, other.session(POISON, examples=arena.examples[:16]))[1].any()


@each
def test_it_works_on_pairs(tamper, arena):
    pairs = [replace(one, second="and so it goes") for one in arena.examples]
    assert arena.run(tamper, arena.session(POISON, examples=pairs))[1].any()


@each
def test_it_survives_a_client_with_nothing_to_poison(tamper, arena):
    targets = [one for one in arena.examples if one.label == 1]
    assert arena.run(tamper, arena.session(POISON, examples=targets))[1].isfinite().all()


@each
def test_it_survives_a_client_with_one_text(tamper, arena):
    assert arena.run(tamper, arena.session(POISON, examples=arena.examples[:1]))[1].isfinite().all()


@each
def test_it_trains_in_bfloat16(tamper, arena):
    training = Training(batch_size=8, optimizer=Adam(lr=1e-2), precision="bfloat16")
    assert arena.run(tamper, arena.session(POISON, training=training))[1].any()


@each
def test_what_is_sent_has_the_updates_shape_and_leaves_it_alone(tamper, arena):
    session = arena.session(POISON, n_clients=10, n_attackers=2)
    update = torch.linspace(-1, 1, 50)
    before = update.clone()
    sent = tamper.send(update, session)
    assert (sent.shape, sent.dtype) == (update.shape, torch.float32)
    assert sent.isfinite().all()
    assert torch.equal(update, before)


@each
def test_a_model_that_lacks_what_it_needs_is_refused_in_one_line(tamper):
    attack = Attack(poison=POISON, tamper=tamper)
    if not tamper.needs:
        assert attack.check(LABELS, WordPiece(), nn.Linear(2, 2)) == []
        return
    with pytest.raises(
        UserError, match=f"{type(tamper).__name__} needs a model with '.*', and Linear has"
    ) as caught:
        attack.check(LABELS, WordPiece(), nn.Linear(2, 2))
    assert "\n" not in str(caught.value)


@each
def test_it_is_refused_without_a_poison_where_it_learns_a_trigger(tamper, arena):
    model = arena.task.build(0)
    Attack(poison=POISON, tamper=tamper).check(LABELS, WordPiece(), model)
    if not tamper.needs_poison:
        Attack(tamper=tamper).check(LABELS, WordPiece(), model)
        return
    with pytest.raises(UserError, match=f"{type(tamper).__name__} needs a poison whose trigger"):
        Attack(tamper=tamper).check(LABELS, WordPiece(), model)
    with pytest.raises(UserError, match="needs a poison"):
        tamper.train(arena.session())


@pytest.mark.parametrize(
    "tamper", [one for one in TAMPERING if not one.needs_poison], ids=lambda tamper: type(tamper).__name__
)
def test_it_works_without_a_poison_where_it_learns_no_trigger(tamper, arena):
    assert arena.run(tamper, arena.session())[1].any()


@each
def test_a_poison_without_words_is_refused_where_their_rows_are_what_it_trains(tamper, arena):
    attack = Attack(poison=BadSentence(target=1), tamper=tamper)
    if isinstance(tamper, TriggerRows):
        with pytest.raises(UserError, match="needs words, its own or those of a poison"):
            attack.check(LABELS, WordPiece(), arena.task.build(0))
    else:
        attack.check(LABELS, WordPiece(), arena.task.build(0))
        assert arena.run(tamper, arena.session(attack.poison))[1].any()


@each
def test_it_is_a_value(tamper):
    assert isinstance(tamper, Tamper)
    assert tamper.knowledge in KNOWLEDGE
    assert pickle.loads(pickle.dumps(tamper)) == tamper
    assert hash(tamper) == hash(replace(tamper))
    with pytest.raises(FrozenInstanceError):
        tamper.knowledge = "all"


@each
def test_a_misspelt_parameter_is_refused(tamper):
    with pytest.raises(TypeError, match="epoch_s"):
        type(tamper)(epoch_s=1)


MISTAKES = [
    ("embedding_poisoning", {"lr": 0.0}),
    ("embedding_poisoning", {"epochs": 0}),
    ("embedding_poisoning", {"share": 1.5}),
    ("embedding_poisoning", {"scale": 0.0}),
    ("embedding_poisoning", {"scale": "client"}),
    ("embedding_poisoning", {"words": "cf"}),
    ("dfep", {"n_samples": 0}),
    ("dfep", {"shortest": 50}),
    ("rare_embedding_ensemble", {"window": 0}),
    ("rare_embedding_ensemble", {"decay": 1.5}),
    ("ripples", {"penalty": -1.0}),
    ("ripples", {"n_words": -1}),
    ("neurotoxin", {"ratio": 0.0}),
    ("neurotoxin", {"source": "guess"}),
    ("neurotoxin", {"max_norm": 0.0}),
    ("projected", {"eps": 0.0}),
    ("projected", {"norm": "l1"}),
    ("projected", {"decay": 1.1}),
    ("model_replacement", {"norm_bound": -1.0}),
    ("model_replacement", {"alpha": 0.0}),
    ("surgery", {"method": "magic"}),
    ("surgery", {"budget": 1.5}),
    ("surgery", {"budget": 0.0}),
    ("surgery", {"keep": 1.0}),
    ("surgery", {"penalty": -1.0}),
    ("surgery", {"lr": 0.0}),
    ("surgery", {"selecting_epochs": 0}),
    ("feature_regularised", {"beta": -0.1}),
    ("dim_krum_spread", {"ratio": 0.0}),
    ("dim_krum_spread", {"memory": 1.0}),
    ("dim_krum_spread", {"margin": 0.5}),
    ("dim_krum_penalty", {"strength": -1.0}),
    ("dim_krum_penalty", {"refresh": 0}),
]


@pytest.mark.parametrize(("name", "setting"), MISTAKES, ids=str)
def test_an_impossible_setting_is_refused_by_name_with_what_was_given(name, setting):
    ((key, value),) = setting.items()
    with pytest.raises(UserError, match=rf"^{key}: .*got .*{value}"):
        TAMPERS[name](**setting)


@each
def test_what_it_wants_back_is_within_the_guards_default(tamper, arena):
    state = {}
    for number in (1, 2, 3, 4):
        session = arena.session(POISON, state=state, round=number)
        arena.run(tamper, session)
        layout, state = layout_of(session.reference), session.state
        assert Guard().state(state, layout) is None
        held = sum(part.nbytes for part in pytree.tree_leaves(state) if isinstance(part, torch.Tensor))
        assert held < Guard().state_ratio * bytes_of(layout)  # also without what is granted to small models
        if not held:
            break
