from __future__ import annotations

import pytest
import torch

from hauberk.tasks.device import resolve_device
from hauberk.tasks.errors import UserError


def test_auto_is_a_gpu_where_there_is_one():
    assert resolve_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    assert resolve_device("cpu") == "cpu"


def test_a_gpu_that_is_not_there_is_one_line_with_its_number():
    with pytest.raises(
        UserError, match=r"^device: 'cuda:99' is not there: torch sees \d+ GPUs in this process"
    ):
        resolve_device("cuda:99")
