"""Files that other installed packages carry: found without running a line of their code, and checked.

The digests are pinned, so that a figure always means the same data and the same weights.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from hauberk.tasks.errors import UserError


def package_folder(package: str) -> Path:
    """Returns the folder of an installed top-level package, which is not imported.

    Raises:
        UserError: if it is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"The package '{package}' is not installed: pip install '{_extra(package)}'.")
    return Path(next(iter(spec.submodule_search_locations)))


@cache
def checked_file(package: str, name: str, sha256: str) -> Path:
    """Returns the path of one file of ``package``; it is read once per process, to check its digest.

    Raises:
        UserError: if the package or the file is missing, or the file is another one than was pinned.
    """
    path = package_folder(package) / name
    check(package, name, digest([path]), sha256)
    return path


def digest(paths: Iterable[Path], root: Path | None = None) -> str:
    """Returns the SHA-256 over the files' contents, each after its name relative to ``root`` if given."""
    total = hashlib.sha256()
    for path in paths:
        if root is not None:
            total.update(f"{path.relative_to(root).as_posix()}\0{path.stat().st_size}\0".encode())
        total.update(_content(path))
    return total.hexdigest()


def check(package: str, name: str, found: str, pinned: str) -> None:
    """Raises UserError if the digest found is not the one that was pinned."""
    if found != pinned:
        raise UserError(
            f"'{name}' of the package '{package}' has sha256 {found[:12]}, expected {pinned[:12]}: "
            f"pip install --force-reinstall '{_extra(package)}'."
        )


def _extra(package: str) -> str:
    """Returns what to install for a package."""
    extras = {"glove": "glove", "pykeen": "kge", "skfolio": "stocks"}
    return f"hauberk[{next((extra for word, extra in extras.items() if word in package), 'offline')}]"


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"Cannot read '{path}': {error.strerror}.") from error
