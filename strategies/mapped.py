"""Vectors that outgrow main memory: float pages of a file that has no name, which the system writes out as it must."""

from __future__ import annotations

import os
import tempfile

import torch
from torch import Tensor

# Before the name of a state's entry that is a vector of the model's size: replaced where it changes, never written to,
# so that whoever keeps a state need not keep it anew.
VECTOR = "vector/"


def mapped_vector(n: int, dtype: torch.dtype) -> Tensor:
    """Returns a vector [n] of whatever values in a file of TMPDIR; the file goes when the vector does.

    Raises:
        OSError: if there is no room for it.
    """
    handle, path = tempfile.mkstemp(prefix="hauberk-vector-")
    try:
        n_bytes = n * dtype.itemsize
        os.posix_fallocate(handle, 0, n_bytes)  # now, and not by a signal when a page is first written
        return torch.from_file(path, shared=True, size=n, dtype=dtype)
    finally:
        os.close(handle)
        os.unlink(path)  # what is mapped stays until it is let go
