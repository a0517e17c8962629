"""What the proxy reads of an object before it hands it on."""

from __future__ import annotations

import json

import numpy as np
import pytest
from flwr.app import Array
from flwr.proto.message_pb2 import PushObjectRequest
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects

from hauberk.experiments.deploy.proxy import MAX_PIECE, Claims, Refused


def pushed(content: bytes) -> bytes:
    """Returns the request that pushes an object."""
    return PushObjectRequest(object_content=content).SerializeToString()


def test_an_array_of_one_piece_that_stands_in_it_many_times_is_cut_off():
    claims = Claims(3 * MAX_PIECE)
    claims.begin(2)
    honest = Array(np.zeros(1000, np.float32))
    for one in get_all_nested_objects(honest).values():
        claims.take_object(2, pushed(one.deflate()))
    bomb = honest.deflate().replace(
        b'"arraychunk_ids": [0]', b'"arraychunk_ids": %s' % json.dumps([0] * 99).encode()
    )
    assert len(bomb) < 1000
    with pytest.raises(Refused, match=f"more than {3 * MAX_PIECE} bytes, {100 * MAX_PIECE} so far"):
        claims.take_object(2, pushed(bomb))


def test_an_object_that_is_larger_than_flowers_pieces_is_refused():
    with pytest.raises(Refused, match="an object may hold 6291456 bytes, got 6291457"):
        Claims(1 << 30).take_object(0, pushed(bytes(MAX_PIECE + 1)))
