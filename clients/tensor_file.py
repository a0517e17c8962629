"""Named arrays as one file in the safetensors format.

Flower asks for each array of a message, and for each of its pieces, in a request of its own, which costs a SuperLink
milliseconds; a model has up to hundreds of tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord
from safetensors.numpy import load, save

FILE = "safetensors"  # the name of the only array of a record
MAX_HEADER = 1 << 20  # bytes: more than the names and shapes of any model's tensors need


def pack_arrays(arrays: Mapping[str, Any]) -> ArrayRecord:
    """Returns named arrays as a record; an empty one where there are none."""
    if not arrays:
        return ArrayRecord()
    data = save({name: np.asarray(value, order="C") for name, value in arrays.items()})
    return ArrayRecord({FILE: Array("uint8", (len(data),), FILE, data)})


def unpack_arrays(record: ArrayRecord) -> dict[str, np.ndarray]:
    """Returns the arrays of a record by name, each with memory of its own: together no more than what arrived.

    Raises:
        ValueError: it is not what `pack_arrays` packs.
    """
    if not record:
        return {}
    if set(record) != {FILE}:
        raise ValueError(f"{len(record)} arrays where one file of tensors is due")
    data = record[FILE].data
    header = int.from_bytes(data[:8], "little")
    if header > MAX_HEADER:
        raise ValueError(f"the file of tensors has a header of {header} bytes, allowed are {MAX_HEADER}")
    return load(data)


def size_of(record: ArrayRecord) -> int:
    """Returns the bytes of a record's arrays as they arrived."""
    return sum(len(array.data) for array in record.values())
