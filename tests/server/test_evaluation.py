"""What the server warns of before the first round."""

import pytest

from hauberk.experiments.runner.setup import prepare
from hauberk.experiments.spec.loader import parse


def warnings(tables, **poison):
    tables["attack"]["poison"] |= poison
    return [line for line in prepare(parse(tables)).warnings if "sees no trigger" in line]


def test_triggers_that_are_cut_off_are_counted(tables):
    tables["task"]["max_length"] = 5
    (line,) = warnings(tables, position="end")
    assert line.startswith("attack.poison: the model sees no trigger in ")
    assert line.endswith("task.max_length = 5 cuts off what comes late")
    unseen, _, total = line.split(" in ")[1].split()[:3]
    assert 0 < int(unseen) <= int(total)


@pytest.mark.parametrize(("length", "position"), [(5, "begin"), (64, "end")])
def test_triggers_that_are_seen_are_not(tables, length, position):
    tables["task"]["max_length"] = length
    assert not warnings(tables, position=position)
