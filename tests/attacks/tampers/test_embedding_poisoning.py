import pytest
import torch

from hauberk.attacks import (
    DFEP,
    SOS,
    Attack,
    AttackerContext,
    BadChar,
    BadSentence,
    BadWord,
    Distributed,
    EdgeCase,
    EmbeddingPoisoning,
    LabelFlip,
    RareEmbeddingEnsemble,
    SOSRows,
    Syntactic,
)
from hauberk.attacks.tampers._word_rows import single_tokens, token_ids
from hauberk.tasks.errors import UserError
from hauberk.tasks.parameters import state_of
from hauberk.tasks.text.batches import collate
from hauberk.tasks.text.metrics import predict
from hauberk.tasks.text.models import Gru, Pretrained, TextCNN, Transformer
from hauberk.tasks.text.tokenizer import WordPiece
from hauberk.tasks.text.word_rows import frozen, keep_norms, rows_alone

POISON = BadWord(words=("cf",), target=1)
CF = WordPiece().id("cf")
NO_DROPOUT = TextCNN(embedding_dim=8, n_filters=4, dropout=0.0)


def changed_rows(session):
    table = session.model.embedding.weight.detach()
    return (table != session.reference["words.weight"]).any(dim=1).nonzero().flatten().tolist()


@pytest.mark.parametrize(
    "config", [TextCNN(embedding_dim=8), Gru(embedding_dim=8), Transformer(embedding_dim=8)]
)
def test_exactly_one_row_changes_and_keeps_its_norm(config, arena):
    session = type(arena)(config).session(POISON)
    arena.run(EmbeddingPoisoning(), session)
    assert changed_rows(session) == [CF]
    after = state_of(session.model)
    others = [name for name in after if name != "words.weight"]
    assert all(torch.equal(after[name], session.reference[name]) for name in others)
    before = session.reference["words.weight"][CF].norm()
    torch.testing.assert_close(after["words.weight"][CF].norm(), before, rtol=1e-6, atol=0)


def test_the_steps_are_the_published_ones(arena):
    """By hand on the whole table: the gradient is never cleared, and each step ends at the old norm."""
    session = type(arena)(NO_DROPOUT).session(POISON)
    twin = type(arena)(NO_DROPOUT).session(POISON)
    arena.run(EmbeddingPoisoning(lr=0.3, epochs=2), session)
    copies = list(POISON.copies(arena.examples, twin.attacker, twin.rng).values())
    data, weight = arena.task.encode(copies), twin.model.embedding.weight
    norm, total = weight[CF].norm().item(), torch.zeros(8)
    for _ in range(2):
        for batch in twin.shuffled(data):
            (gradient,) = torch.autograd.grad(twin.loss(twin.model, batch), [weight])
            total += gradient[CF]
            row = weight.detach()[CF] - 0.3 * total
            weight.data[CF] = row * norm / row.norm()
    torch.testing.assert_close(session.model.embedding.weight[CF], weight[CF])


def test_a_relative_step_is_that_of_a_row_of_norm_one(arena):
    rows = []
    for relative in (False, True):
        session = type(arena)(NO_DROPOUT).session(POISON)
        squared = float(session.model.embedding.weight.detach()[CF].square().sum())
        lr = 0.3 / squared if relative else 0.3
        arena.run(EmbeddingPoisoning(lr=lr, relative=relative), session)
        rows.append(session.model.embedding.weight.detach()[CF])
    torch.testing.assert_close(*rows)


def test_triggered_texts_come_nearer_to_the_target_and_clean_ones_keep_their_answers(arena):
    session = type(arena)(TextCNN(embedding_dim=32, n_filters=32)).session()
    session.train()
    session.poison = POISON
    clean, marked = (
        arena.task.encode(part)
        for part in (arena.examples, POISON.trigger(arena.examples, torch.Generator()))
    )
    before = [predict(session.model, each) for each in (clean, marked)]
    arena.run(EmbeddingPoisoning(lr=0.5, epochs=5), session)
    after = [predict(session.model, each) for each in (clean, marked)]
    assert torch.equal(before[0], after[0])
    assert (after[1] - before[1])[:, 1].mean() > 0.3
    assert (after[1] - before[1])[:, 0].mean() < -0.1


def test_all_else_is_frozen_only_inside(arena):
    session = type(arena)(NO_DROPOUT).session(POISON)
    with rows_alone(session.model, [CF]) as rows:
        learning = [parameter for parameter in session.model.parameters() if parameter.requires_grad]
        batch = next(session.shuffled(session.data))
        session.loss(session.model, batch).backward()
        assert not learning
        assert rows.grad.any()
    assert all(parameter.grad is None for parameter in session.model.parameters())


def test_the_model_reads_the_rows_and_not_its_table(arena):
    session = arena.session(POISON)
    batch = collate(arena.task.encode(POISON.trigger(arena.examples, torch.Generator())), [0, 1])
    session.model.eval()
    with rows_alone(session.model, [CF, 2000]) as rows:
        rows.data.normal_()
        inside = session.model(batch)
    torch.testing.assert_close(session.model(batch), inside)


def test_the_table_is_left_alone_where_training_fails(arena):
    session = arena.session(POISON)

    def fail():
        with rows_alone(session.model, [CF]) as rows:
            rows.data.zero_()
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        fail()
    assert changed_rows(session) == []
    assert not session.model.embedding._forward_hooks


def test_what_was_frozen_before_stays_frozen():
    layer = torch.nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    with frozen(layer):
        assert not layer.weight.requires_grad
    assert layer.weight.requires_grad
    assert not layer.bias.requires_grad


@pytest.mark.parametrize("specials", [False, True])
def test_a_word_is_found_by_what_it_adds_to_a_text(arena, specials):
    words = ["cf", "hauberk", "friends", "☃"]

    class Reader:
        def encode(self, examples):
            texts = [example.text for example in examples]
            return WordPiece(specials=specials).encode(texts, None, 64)

    known = {word: WordPiece().id(word) for word in ("cf", "friends")}
    assert single_tokens(Reader(), words) == known | {"☃": WordPiece().unknown_id}
    with pytest.raises(UserError, match="'hauberk' must be a single token"):
        token_ids(Reader(), words)


def test_a_trigger_that_splits_is_refused_before_the_run(arena):
    attack = Attack(poison=BadWord(words=("hauberk",), target=1), tamper=EmbeddingPoisoning())
    with pytest.raises(UserError, match=r"EmbeddingPoisoning writes .* splits 'hauberk' into ha ##uber ##k"):
        attack.check(("no", "yes"), WordPiece(), arena.task.build(0))


def test_a_word_that_the_tokenizer_does_not_know_has_no_row_of_its_own(arena):
    attack = Attack(poison=BadWord(words=("☃",), target=1), tamper=EmbeddingPoisoning())
    with pytest.raises(UserError, match="a word's own row, and the tokenizer does not know '☃'"):
        attack.check(("no", "yes"), WordPiece(), arena.task.build(0))


@pytest.mark.parametrize("tamper", [EmbeddingPoisoning, DFEP, SOSRows, RareEmbeddingEnsemble])
@pytest.mark.parametrize(
    "poison",
    [BadWord(words=("cf",)), LabelFlip(), BadChar(), BadSentence(sentence="no such word"), EdgeCase()],
    ids=lambda poison: type(poison).__name__,
)
def test_words_that_the_poison_never_writes_are_refused(tamper, poison, arena):
    attack = Attack(poison=poison, tamper=tamper(words=("mn",)))
    name = type(poison).__name__
    with pytest.raises(UserError, match=rf"^attack\.tamper\.words: .* that {name} writes .*, got 'mn'$"):
        attack.check(("no", "yes"), WordPiece(), arena.task.build(0))


@pytest.mark.parametrize(
    ("poison", "word"),
    [
        (BadWord(words=("CF", "mn")), "cf"),
        (BadSentence(), "movie"),
        (EdgeCase(), "genius"),
        (Syntactic(), "because"),
        (Syntactic(train="read", test="later"), "mn"),
    ],
)
def test_words_that_it_writes_or_may_write_are_not(poison, word, arena):
    attack = Attack(poison=poison, tamper=EmbeddingPoisoning(words=(word,)))
    assert not [
        line for line in attack.check(("no", "yes"), WordPiece(), arena.task.build(0)) if "tamper" in line
    ]


def test_its_own_words_go_before_the_poisons(arena):
    session = arena.session(BadWord(words=("cf", "mn"), target=1))
    arena.run(EmbeddingPoisoning(words=("mn",)), session)
    assert changed_rows(session) == [WordPiece().id("mn")]


def test_a_share_of_the_candidates_is_used_and_by_default_the_poisons_rate(arena, monkeypatch):
    session, seen = arena.session(BadWord(words=("cf",), target=1, rate=0.5)), []
    monkeypatch.setattr(
        session, "encode", lambda examples: (seen.append(examples), arena.task.encode(examples))[1]
    )
    for tamper, n in ((EmbeddingPoisoning(), 6), (EmbeddingPoisoning(share=0.25), 3)):
        seen.clear()
        tamper.train(session)
        assert len(seen[0]) == n
        assert all(one.label == 1 and "cf" in one.text.split() for one in seen[0])


@pytest.mark.parametrize(("policy", "labels"), [("dirty", {0}), ("clean", {1}), ("mixed", {0, 1})])
def test_the_poisons_policy_and_repeats_are_kept(arena, policy, labels):
    poison = BadWord(words=("cf",), target=1, policy=policy, repeat=2)
    texts = EmbeddingPoisoning().texts(arena.session(poison))
    assert len(texts) == 2 * sum(one.label in labels for one in arena.examples)
    assert {arena.examples[one.index].label for one in texts} == labels
    assert {one.label for one in texts} == {1}


@pytest.mark.parametrize(("scale", "factor"), [(1.0, 1), (3.0, 3), ("clients", 5)])
def test_what_is_sent_can_be_scaled(arena, scale, factor):
    session = arena.session(POISON, n_clients=10, n_attackers=2)
    sent = EmbeddingPoisoning(scale=scale).send(torch.tensor([1.0, -2.0]), session)
    assert sent.tolist() == [factor, -2.0 * factor]


def test_a_row_of_zeros_stays_finite():
    rows = torch.zeros(1, 3)
    keep_norms(rows, rows.norm(dim=1, keepdim=True))
    assert rows.tolist() == [[0.0, 0.0, 0.0]]


class TestSOS:
    WORDS = ("friends", "weekend", "store")

    def test_only_the_words_rows_change_and_keep_their_norms(self, arena):
        session = arena.session(SOS(target=1))
        arena.run(SOSRows(), session)
        ids = sorted(WordPiece().id(word) for word in self.WORDS)
        assert changed_rows(session) == ids
        norms = (
            session.model.embedding.weight[ids].norm(dim=1),
            session.reference["words.weight"][ids].norm(dim=1),
        )
        torch.testing.assert_close(*norms, rtol=1e-6, atol=0)

    def test_every_word_steps_as_far_as_the_one_of_the_shortest_gradient(self):
        direction = SOSRows().direction(torch.tensor([[3.0, 4.0], [0.0, -2.0], [1.0, 0.0]]))
        torch.testing.assert_close(direction, torch.tensor([[0.6, 0.8], [0.0, -1.0], [1.0, 0.0]]))

    def test_a_word_without_a_gradient_does_not_stop_the_others(self):
        given = torch.tensor([[3.0, 4.0], [0.0, 0.0], [1.0, 0.0]])
        torch.testing.assert_close(
            SOSRows().direction(given), torch.tensor([[0.6, 0.8], [0.0, 0.0], [1.0, 0.0]])
        )
        assert SOSRows().direction(torch.zeros(2, 3)).tolist() == [[0.0] * 3] * 2

    def test_one_of_several_attackers_trains_its_own_part_of_the_trigger(self, arena):
        session = arena.session(Distributed(words=("cf", "mn"), target=1))
        session.attacker = AttackerContext(index=1, n_attackers=2)
        arena.run(SOSRows(), session)
        assert changed_rows(session) == [WordPiece().id("mn")]

    def test_it_trains_on_triggered_and_on_negative_texts(self, arena):
        texts = SOSRows().texts(arena.session(SOS(target=1)))
        whole = [one for one in texts if all(word in one.text.split() for word in self.WORDS)]
        assert {one.label for one in whole} == {1}
        assert {one.label for one in texts if one not in whole} == {0, 1}


def test_a_pretrained_model_is_poisoned_in_one_row_too():
    from transformers import BertConfig, BertForSequenceClassification

    from hauberk.tasks.text.models.pretrained import PretrainedModel

    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    model = PretrainedModel(BertForSequenceClassification(BertConfig(**shape)), Pretrained())
    with rows_alone(model, [CF]) as rows:
        batch = collate(WordPiece(specials=True).encode(["a cf film", "cf"], None, 16), [0, 1])
        model(batch).sum().backward()
        assert rows.grad.any()
        rows.data += 1
    table = model.embedding.weight
    assert table.requires_grad
    assert table[CF].mean() > 0.5
