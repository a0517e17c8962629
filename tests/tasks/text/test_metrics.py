import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score
from torch import nn

from hauberk.tasks.errors import UserError
from hauberk.tasks.text.encoding import encoded_from
from hauberk.tasks.text.metrics import accuracy, attack_floor, attack_success, macro_f1, predict

LOGITS = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 1.0], [0.0, 5.0]])  # answers 0 1 0 1


class FirstToken(nn.Module):
    """Answers with the first token and the mode it was asked in."""

    def forward(self, batch):
        assert not torch.is_grad_enabled()
        return torch.stack(
            [batch.tokens[:, 0].float(), torch.full((len(batch),), float(self.training))], dim=1
        )


def test_accuracy_and_macro_f1_match_a_hand_calculation():
    labels = np.array([0, 1, 1, 1])
    assert accuracy(LOGITS, labels) == 0.75
    assert macro_f1(LOGITS, labels) == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_a_constant_answer_has_a_poor_macro_f1():
    logits = torch.tensor([[1.0, 0.0]] * 10)
    assert macro_f1(logits, np.array([0] * 9 + [1])) == pytest.approx(0.5 * 18 / 19)


def test_success_and_floor_are_shares_of_the_same_samples():
    assert attack_success(LOGITS, 1) == 0.5
    assert attack_floor(LOGITS[:3], 1) == pytest.approx(1 / 3)


def test_a_rate_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one sample"):
        attack_success(torch.empty(0, 2), 1)


def test_predictions_come_in_the_rows_order_and_the_model_keeps_its_mode():
    lists = [[n] * (1 + (7 * n) % 11) for n in range(1, 40)]
    model = FirstToken().train()
    logits = predict(model, encoded_from(lists, None, 0, 100), batch_size=4)
    assert logits[:, 0].tolist() == list(range(1, 40))
    assert not logits[:, 1].any()
    assert model.training


def test_an_unknown_precision_is_refused():
    with pytest.raises(UserError, match="float32, bfloat16, got 'float16'"):
        predict(FirstToken(), encoded_from([[1]], None, 0, 100), precision="float16")


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_macro_f1_is_that_of_scikit_learn(pairs):
    answers, labels = np.array(pairs).T
    logits = torch.nn.functional.one_hot(torch.from_numpy(answers), 4).float()
    assert macro_f1(logits, labels) == pytest.approx(
        f1_score(labels, answers, average="macro", zero_division=0)
    )
