"""The folders of a deployment: one for the server's machine, one for each client's, each all that its machine needs.

``deployment.toml`` says what a folder is and is written by ``hauberk deploy``; ``server.toml`` and ``client.toml`` are
their owners' to change; ``experiment.toml`` is the experiment as far as the machine must know it.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hauberk.server.durable import write_whole
from hauberk.tasks.errors import UserError

if TYPE_CHECKING:  # to look at a folder takes a moment, and these import torch
    from hauberk.clients.policy import Policy
    from hauberk.experiments.spec.loader import Spec

ABOUT, EXPERIMENT, SERVER, CLIENT = "deployment.toml", "experiment.toml", "server.toml", "client.toml"
KEYS = "client_keys.toml"  # in the server's folder: the clients' public keys
AUTHORITY, SERVER_FOLDER = "authority", "server"
SECRET, DATA, FLOWER = "runtime.secret", "data", "flower"
M = TypeVar("M", bound=BaseModel)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class About(_File):
    """What a folder is.

    Attributes:
        kind: whose machine it is for, or "all" for the folder that holds the others.
        id: the deployment's, a random name.
        host: of the server, as clients call it.
        port: the one that the server publishes.
        local_port: what this machine's own API listens on, on loopback alone: the SuperLink's, or the SuperNode's.
        labels: the names of the classes that all have agreed on.
        client: which client this is.
        max_reply_mb: what one reply may hold before the server's proxy cuts it off.
    """

    kind: Literal["all", "server", "client"]
    id: str
    host: str
    port: int = Field(ge=1, le=65535)
    local_port: int = Field(0, ge=0, le=65535)
    labels: list[str] = []
    client: int | None = None
    max_reply_mb: float = 0.0

    @property
    def address(self) -> str:
        """Where the clients find the server."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class ServerFile(_File):
    """What the server holds: its test split and its own clean examples."""

    data: dict[str, Any] = {"name": "shared"}


class ClientFile(_File):
    """What a client's owner decides."""

    data: dict[str, Any]
    malicious: bool = False
    own_randomness: bool = False
    policy: dict[str, Any] = {}


@dataclass(frozen=True)
class Part:
    """One machine's folder.

    Attributes:
        path: absolute.
        about: what it is.
    """

    path: Path
    about: About

    @property
    def name(self) -> str:
        """``server``, or ``client 3``."""
        return "server" if self.about.kind == "server" else f"client {self.about.client}"

    def spec(self) -> Spec:
        """Returns the experiment; raises UserError if its file is damaged."""
        from hauberk.experiments.spec.loader import load

        return load(self.path / EXPERIMENT)

    def server_file(self) -> ServerFile:
        """Returns the server's own settings."""
        return read_file(self.path / SERVER, ServerFile)

    def client_file(self) -> ClientFile:
        """Returns the client's own settings."""
        return read_file(self.path / CLIENT, ClientFile)

    def policy(self) -> Policy:
        """Returns what the client's owner allows."""
        from hauberk.clients.policy import Policy
        from hauberk.experiments.spec.components import construct

        try:
            return construct(Policy, self.client_file().policy)
        except ValueError as error:
            lines = "; ".join(str(error).splitlines())
            raise UserError(f"{self.path / CLIENT}: policy.{lines}") from None


@dataclass(frozen=True)
class Folder:
    """A folder as the command line names it: a machine's, or one that holds several.

    Attributes:
        path: absolute.
        parts: by their order: the server first.
    """

    path: Path
    about: About
    parts: tuple[Part, ...] = field(default=())

    @property
    def server(self) -> Part:
        """Returns the server's part; raises UserError where it is not here."""
        for part in self.parts:
            if part.about.kind == "server":
                return part
        raise UserError(f"{self.path}: holds no server; this is for the server's machine")


def open_folder(path: str | Path) -> Folder:
    """Returns the deployment, or the part of one, in a folder.

    Raises:
        UserError: there is none, or it is damaged, or its parts are of different deployments.
    """
    path = Path(os.path.abspath(path))
    if not (path / ABOUT).exists():
        raise UserError(f"{path}: holds no deployment (no {ABOUT}); hauberk deploy init makes one")
    about = read_file(path / ABOUT, About)
    if about.kind != "all":
        return Folder(path, about, (Part(path, about),))
    inside = [each.parent for each in path.glob(f"*/{ABOUT}")]
    parts = [Part(each, read_file(each / ABOUT, About)) for each in inside]
    for part in parts:
        if part.about.id != about.id:
            raise UserError(
                f"{part.path}: is of another deployment, '{part.about.id}', and {path} of '{about.id}'"
            )
    parts.sort(key=lambda part: (part.about.kind == "client", part.about.client or 0))
    return Folder(path, about, tuple(parts))


def read_file(path: Path, model: type[M]) -> M:
    """Returns a file's content; raises UserError with all its mistakes in one line."""
    try:
        return model.model_validate(tomllib.loads(path.read_text(encoding="utf8")))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        raise UserError(f"{path}: {'; '.join(lines)}") from None


def write_file(path: Path, tables: Mapping[str, Any], comments: str = "", mode: int = 0o644) -> None:
    """Writes a TOML file, whole or not at all, below its comments."""
    head = "".join(f"# {line}\n" if line else "\n" for line in comments.splitlines())
    write_whole(path, (head + tomli_w.dumps(tables)).encode())
    path.chmod(mode)


def write_about(path: Path, about: About) -> None:
    """Writes what a folder is."""
    tables = {key: value for key, value in about.model_dump().items() if value is not None}
    write_file(path / ABOUT, tables, "Written by hauberk deploy: it says what this folder is.")
