"""NumPy's file format, read without trusting what a peer's file says about itself."""

from __future__ import annotations

from io import BytesIO
from math import prod

import numpy as np

MAX_HEADER = 1_000  # bytes; NumPy pads a plain array's header to 118


def read_npy(data: bytes) -> np.ndarray:
    """Returns the array that a ``.npy`` file holds, as a read-only view of ``data``.

    NumPy's own reader first makes room for as many values as the header claims, and only then looks for them.

    Raises:
        ValueError: ``data`` is no such file, claims another size than it has, or holds Python objects.
    """
    try:
        return _read(data)
    except Exception as error:  # NumPy's parser, too, raises what it likes for bytes that nobody wrote
        raise ValueError(f"no NumPy array: {type(error).__name__}: {error}") from None


def _read(data: bytes) -> np.ndarray:
    file = BytesIO(data)
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f"version {version} of the format")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file, max_header_size=MAX_HEADER)
    if dtype.hasobject:
        raise ValueError("Python objects")
    n_bytes = prod(shape) * dtype.itemsize
    if n_bytes != len(data) - file.tell() or min(shape, default=0) < 0:
        raise ValueError(f"{len(data) - file.tell()} bytes, where shape {shape} and {dtype} need {n_bytes}")
    values = np.frombuffer(data, dtype, offset=file.tell()) if n_bytes else np.empty(0, dtype)
    return values.reshape(shape, order="F" if fortran else "C")
