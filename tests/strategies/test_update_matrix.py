import numpy as np
import pytest
import torch

from hauberk.strategies import Guard, Reply, UpdateMatrix, layout_of
from hauberk.strategies.row_memory import RowMemory, arrange

SHAPES = {"embedding": (4, 3), "bias": (2,), "scale": ()}
N_PARAMS = 15


def arrays(value=0.0):
    made = {name: np.full(shape, value, dtype=np.float32) for name, shape in SHAPES.items()}
    return made | {"steps": np.array(7)}


LAYOUT = layout_of(arrays())


def rows(asked=(1, 2, 3), sent=0.5, **settings):
    return UpdateMatrix(asked, LAYOUT, torch.full((N_PARAMS,), sent), Guard(**settings))


def without(name):
    return {key: value for key, value in arrays().items() if key != name}


def test_layout_names_the_float_tensors_and_leaves_integers_out():
    assert [(slot.name, slot.shape, slot.start, slot.stop) for slot in LAYOUT] == [
        ("embedding", (4, 3), 0, 12),
        ("bias", (2,), 12, 14),
        ("scale", (), 14, 15),
    ]
    assert LAYOUT.n_params == N_PARAMS
    assert LAYOUT["bias"].slice == slice(12, 14)
    assert layout_of({name: torch.zeros(shape) for name, shape in SHAPES.items()}) == LAYOUT
    with pytest.raises(KeyError):
        LAYOUT["steps"]


def test_unflatten_gives_views():
    vector = torch.arange(15.0)
    tensors = LAYOUT.unflatten(vector)
    tensors["bias"] += 100
    assert vector[12:14].tolist() == [112, 113]
    assert tensors["embedding"].shape == (4, 3)


def test_a_digest_changes_with_names_shapes_and_order():
    other = {"bias": np.zeros(2, np.float32), "embedding": np.zeros((4, 3), np.float32)}
    digests = {LAYOUT.digest(), layout_of(other).digest(), layout_of(dict(reversed(other.items()))).digest()}
    assert len(digests) == 3
    assert layout_of(arrays(3.0)).digest() == LAYOUT.digest()


def test_a_row_is_the_reply_minus_what_was_sent_in_the_order_of_ids():
    made = rows(asked=(5, 2, 9))
    for client_id in (9, 5, 2):
        made.add(Reply(client_id, arrays(client_id), n_examples=10 * client_id))
    collected = made.close()
    assert collected.client_ids == (2, 5, 9)
    assert collected.n_examples == (20, 50, 90)
    assert collected.updates.tolist() == [[k - 0.5] * N_PARAMS for k in (2, 5, 9)]
    assert collected.refused == {}


def test_there_is_one_matrix_and_everything_is_a_view_of_it():
    made = rows()
    matrix = made.row(1).data_ptr()
    for client_id in (1, 2, 3):
        made.add(Reply(client_id, arrays(client_id)))
    made.row(2).fill_(float("nan"))  # what a forger writes is checked like any other row
    collected = made.close()
    assert collected.client_ids == (1, 3)
    assert collected.updates.data_ptr() == matrix
    assert collected.updates.untyped_storage().nbytes() == 3 * N_PARAMS * 4
    assert collected.updates[1].tolist() == [2.5] * N_PARAMS
    assert collected.refused == {2: "tensor 'embedding' holds 12 values that are NaN or infinite"}


@pytest.mark.parametrize("first", [(1, 2), (2, 3), (4,), (2, 4), (), (1, 3, 4), (1, 2, 3, 4)])
def test_two_groups_of_rows_are_views_however_they_lie(first):
    made = rows(asked=(1, 2, 3, 4))
    for client_id in (1, 2, 3, 4):
        made.add(Reply(client_id, arrays(client_id)))
    second = [client for client in (1, 2, 3, 4) if client not in first]
    storage = made.row(1).untyped_storage().data_ptr()
    for group, ids in zip(made.split(first, second), (first, second), strict=True):
        assert group.tolist() == [[client - 0.5] * N_PARAMS for client in ids]
        assert group.untyped_storage().data_ptr() == storage
    made.rewrite(2, torch.full((N_PARAMS,), 7.0))
    collected = made.close()
    assert collected.client_ids == (1, 2, 3, 4)
    assert collected.updates[:, 0].tolist() == [0.5, 7.0, 2.5, 3.5]


def test_rows_of_two_rounds_share_memory_and_what_a_rule_keeps_of_them_does_not():
    memory = RowMemory()
    first = memory.matrix(3, 4).fill_(1.0)
    kept = memory.apart({"row": first[1], "list": [first, 2.0], "own": torch.zeros(1)})
    second = memory.matrix(2, 4).fill_(2.0)
    assert second.data_ptr() == first.data_ptr()
    assert kept["row"].tolist() == [1.0] * 4
    assert kept["list"][0].tolist() == [[1.0] * 4] * 3
    assert memory.matrix(4, 4).shape == (4, 4)


def test_rows_move_in_place_into_any_order():
    for seed in range(20):
        order = torch.randperm(7, generator=torch.Generator().manual_seed(seed)).tolist()
        matrix = torch.arange(7.0)[:, None].repeat(1, 2)
        arrange(matrix, order)
        assert matrix[:, 1].tolist() == order


def test_a_row_that_is_written_anew_is_looked_at_anew():
    made = rows(asked=(1, 2))
    for client_id in (1, 2):
        made.add(Reply(client_id, arrays(client_id)))
    made.rewrite(1, torch.full((N_PARAMS,), float("inf")))
    assert "NaN or infinite" in made.odd_values(1)
    made.rewrite(1, torch.ones(N_PARAMS))
    assert made.odd_values(1) is made.odd_values(2) is None
    made.rewrite(2, torch.full((N_PARAMS,), float("nan")))
    assert made.close().client_ids == (1,)


def test_a_reply_is_left_alone_and_may_be_read_only():
    reply = arrays(1.0)
    for array in reply.values():
        array.flags.writeable = False
    made = rows()
    made.add(Reply(1, reply))
    assert reply["bias"].tolist() == [1, 1]
    assert made.accepted == (1,)


def test_rows_may_be_written_before_they_are_closed():
    made = rows()
    made.add(Reply(2, arrays(2.0)))
    made.row(2).fill_(-4.0)
    assert made.close().updates.tolist() == [[-4.0] * N_PARAMS]
    with pytest.raises(KeyError):
        made.row(8)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ({"error": "RuntimeError: out of memory"}, "error reply: RuntimeError: out of memory"),
        ({"arrays": None}, "the reply holds no tensors"),
        ({"arrays": without("bias")}, "tensor 'bias' is missing"),
        ({"arrays": arrays() | {"extra": np.zeros(3)}}, "unknown tensor 'extra'"),
        ({"arrays": arrays() | {"bias": np.zeros(3, np.float32)}}, "has shape (3,), expected (2,)"),
        ({"arrays": arrays() | {"bias": np.zeros(2)}}, "has dtype float64, expected float32"),
        ({"arrays": arrays() | {"bias": np.zeros(2, np.int64)}}, "has dtype int64, expected float32"),
        ({"arrays": arrays() | {"bias": [0.0, 0.0]}}, "'bias' is a list, not an array"),
        ({"arrays": arrays() | {"bias": np.array(["x", "y"])}}, "has dtype <U1, expected float32"),
        ({"arrays": arrays() | {3: np.zeros(2)}}, "tensor '3' is a ndarray"),
        ({"arrays": arrays(float("nan"))}, "tensor 'embedding' holds 12 values that are NaN or infinite"),
        ({"arrays": arrays(float("inf"))}, "tensor 'embedding' holds 12 values that are NaN or infinite"),
        ({"arrays": arrays() | {"scale": np.array(-np.inf, np.float32)}}, "tensor 'scale' holds 1 values"),
        ({"arrays": arrays() | {"steps": np.zeros(1 << 20, np.int64)}}, "oversized: 8388668 bytes where 60"),
        ({"n_examples": 1e9}, "claims 1e+09 examples, allowed are more than 0, at most 1e+07"),
        ({"n_examples": 0}, "claims 0 examples"),
        ({"n_examples": -5}, "claims -5 examples"),
        ({"n_examples": float("nan")}, "claims nan examples"),
        ({"n_examples": "many"}, "the example count is a str, not a number"),
        ({"n_examples": [1]}, "the example count is a list, not a number"),
    ],
)
def test_an_odd_reply_is_refused_with_its_reason_and_the_others_count(reply, reason):
    made = rows()
    made.add(Reply(1, arrays(1.0)))
    made.add(Reply(2, **{"arrays": arrays()} | reply))
    made.add(Reply(3, arrays(3.0)))
    collected = made.close()
    assert reason in collected.refused.pop(2)
    assert collected.refused == {}
    assert collected.client_ids == (1, 3)
    assert collected.updates.tolist() == [[0.5] * N_PARAMS, [2.5] * N_PARAMS]


def test_rows_that_are_not_sent_have_not_changed():
    made = rows()
    part = np.full((2, 3), 2.0, np.float32)
    made.add(Reply(1, arrays(1.0) | {"embedding": part}, rows={"embedding": np.array([0, 2])}))
    changed = [1.5] * 3
    assert made.row(1).tolist() == [*changed, 0, 0, 0, *changed, 0, 0, 0, 0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("rows_sent", "reason"),
    [
        ({"embedding": np.array([0, 4])}, "not ascending numbers below 4"),
        ({"embedding": np.array([-1, 2])}, "not ascending numbers below 4"),
        ({"embedding": np.array([2, 2])}, "not ascending numbers below 4"),
        # Differences of these overflow and look as if they ascended.
        ({"embedding": np.array([0, 2**63 - 1, -(2**63), -1, 3])}, "not ascending numbers below 4"),
        ({"embedding": np.array([0, 1, 2])}, "tensor 'embedding' has shape (2, 3), expected (3, 3)"),
        ({"embedding": np.array([0.0, 1.0])}, "are no row of int64"),
        ({"embedding": [0, 1]}, "are no row of int64"),
        ({"scale": np.array([0])}, "names rows of tensor 'scale', which has none"),
        ({"other": np.array([0])}, "names rows of tensor 'other', which has none"),
        ([0, 1], "its rows are a list, not named arrays"),
    ],
)
def test_odd_rows_are_refused(rows_sent, reason):
    made = rows()
    part = np.full((2, 3), 2.0, np.float32)
    made.add(Reply(1, arrays(1.0) | {"embedding": part}, rows=rows_sent))
    assert reason in made.close().refused[1]


def test_a_reply_that_overflows_the_difference_is_refused():
    made = rows(sent=-3e38)
    made.add(Reply(1, arrays(3e38)))
    assert "NaN or infinite" in made.close().refused[1]


def test_silence_strangers_and_second_replies():
    made = rows()
    made.add(Reply(1, arrays(1.0)))
    made.add(Reply(1, arrays(9.0)))
    made.add(Reply(77, arrays(1.0)))
    made.add(Reply(3, without("bias")))
    made.add(Reply(3, arrays(1.0)))
    collected = made.close()
    assert collected.client_ids == (1,)
    assert collected.updates.tolist() == [[0.5] * N_PARAMS]
    assert collected.refused == {
        1: "a second reply; the first one counts",
        2: "no reply",
        3: "tensor 'bias' is missing; then a second reply",
        77: "a reply from a client that was not asked",
    }


def test_nobody_replies():
    collected = rows().close()
    assert collected.updates.shape == (0, N_PARAMS)
    assert list(collected.refused.values()) == ["no reply"] * 3


def test_integer_buffers_pass_and_may_be_missing():
    made = rows()
    made.add(Reply(1, without("steps")))
    made.add(Reply(2, arrays() | {"mask": np.zeros(3, bool)}))
    assert made.close().client_ids == (1, 2)


def test_a_norm_limit_is_an_option():
    made = rows(max_norm=10.0)
    made.add(Reply(1, arrays(1.0)))
    made.add(Reply(2, arrays(100.0)))
    collected = made.close()
    assert collected.client_ids == (1,)
    assert collected.refused[2] == "the update has norm 385.362, the limit is 10"


def test_a_liar_cannot_write_over_the_screen():
    made = rows()
    made.add(Reply(1, None, error="line one\nline \x1b[31mtwo" + "x" * 10_000))
    made.add(Reply(2, arrays() | {"\x1b[2J" + "y" * 10_000: np.zeros(1)}))
    for reason in made.close().refused.values():
        assert reason.isprintable()
        assert len(reason) < 300


def test_float64_and_float16_models():
    for dtype in (np.float64, np.float16):
        sent = {"w": np.full(3, 0.25, dtype)}
        made = UpdateMatrix((1,), layout_of(sent), torch.full((3,), 0.25, dtype=torch.float64))
        made.add(Reply(1, {"w": np.full(3, 1.0, dtype)}))
        assert made.close().updates.tolist() == [[0.75] * 3]


def test_impossible_rows_are_refused():
    with pytest.raises(ValueError, match="asked once, got 3 ids, 2 distinct"):
        rows(asked=(1, 1, 2))
    with pytest.raises(ValueError, match=r"shape \(4,\), the layout needs \(15,\)"):
        UpdateMatrix((1,), LAYOUT, torch.zeros(4))
    with pytest.raises(ValueError, match=r"Guard\.max_examples must be a number > 0, got -1"):
        Guard(max_examples=-1)
