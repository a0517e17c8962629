"""The digests of the cases: how one is made, what it depends on, and where they are recorded."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import torch

from hauberk.experiments import run
from tests.golden.cases import tables_of
from tests.helpers.pictures import pictures

HASHES = Path(__file__).with_name("hashes.json")
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")  # they choose torch's kernels


def play(name: str, tweets: Path, folder: Path, *, resume: bool = False) -> str:
    """Runs the case ``name`` in ``folder / "run"`` and returns the digest of its final model's bits."""
    spec = tables_of(name, tweets, folder / "files")
    with pictures():  # as a user's run
        return run(spec, out=folder / "run", resume=resume).summary["model_sha256"]


def fingerprint() -> str:
    """Returns what bits depend on beside the code, as one line: torch's version and the kind of processor."""
    about = _processor()
    flags = about.get("flags", "").split()
    parts = (
        f"torch {torch.__version__}",
        platform.machine(),
        about.get("vendor_id", ""),
        torch.backends.cpu.get_cpu_capability(),
        *(flag for flag in FLAGS if flag in flags),
    )
    return " ".join(filter(None, parts))


def recorded() -> dict[str, dict[str, str]]:
    """Returns fingerprint -> case -> digest, all that were ever recorded."""
    return json.loads(HASHES.read_text()) if HASHES.exists() else {}


def _processor() -> dict[str, str]:
    """Returns what /proc/cpuinfo says of the first processor; nothing where there is no such file."""
    path = Path("/proc/cpuinfo")
    first = path.read_text().partition("\n\n")[0] if path.exists() else ""
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
