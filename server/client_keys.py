"""The clients' public keys, as a file in the server's folder: a node is the client whose key it has."""

from __future__ import annotations

import tomllib
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key

from hauberk.strategies.printable import quoted
from hauberk.tasks.errors import UserError


def read_client_keys(path: Path, n_clients: int) -> dict[bytes, int] | None:
    """Returns which client has which public key, in PEM; None where there is no such file.

    The file is TOML with a line for each client, its id and its key as ``ssh-keygen -t ecdsa`` writes it and
    ``flwr supernode register`` takes it: ``0 = "ecdsa-sha2-nistp384 AAAAE2Vj..."``.

    Raises:
        UserError: the file is not that, names a client that does not exist, or gives two clients one key.
    """
    try:
        lines = tomllib.loads(path.read_text(encoding="utf8"))
    except FileNotFoundError:
        return None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    found: dict[bytes, int] = {}
    for client, text in lines.items():
        if not client.isdecimal() or int(client) >= n_clients:
            raise UserError(f"{path}: {quoted(client)} must be a client id from 0 to {n_clients - 1}")
        key = _pem(path, client, text)
        if key in found:
            raise UserError(f"{path}: clients {found[key]} and {client} must not have the same key")
        found[key] = int(client)
    return found


def _pem(path: Path, client: str, text: object) -> bytes:
    try:
        key = load_ssh_public_key(str(text).encode())
    except Exception as error:
        raise UserError(
            f"{path}: client {client}: must be a public key as ssh-keygen writes it: {error}"
        ) from None
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
