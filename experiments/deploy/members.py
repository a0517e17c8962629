"""Makes the folders of a deployment, and later changes who belongs to it."""

from __future__ import annotations

import json
import secrets
import shutil
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from hauberk.experiments.deploy import certificates, texts
from hauberk.experiments.deploy.folder import (
    AUTHORITY,
    CLIENT,
    DATA,
    EXPERIMENT,
    KEYS,
    SECRET,
    SERVER,
    SERVER_FOLDER,
    About,
    Folder,
    open_folder,
    write_about,
    write_file,
)
from hauberk.experiments.deploy.own_data import PARTITION, SHARED, deal
from hauberk.experiments.deploy.processes import processes_of
from hauberk.experiments.runner.data import data_of
from hauberk.experiments.spec.loader import Spec, parse
from hauberk.server.durable import write_whole
from hauberk.strategies.guard import Guard
from hauberk.strategies.update_matrix import layout_of
from hauberk.tasks.errors import UserError
from hauberk.tasks.parameters import state_of

PORT, LOCAL_PORT = 9443, 9444  # what the server publishes, and what its SuperLink has on loopback
KEYS_COMMENT = (
    "Which client has which public key. Written by hauberk deploy; a client without a line here is refused."
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be deployed.

    Attributes:
        spec: the experiment.
        hosts: the names and addresses by which clients call the server; the first is the one that they are told.
        port: what the server publishes.
        local_port: what its SuperLink listens on, on loopback alone; the clients of one host take those after it.
        dealt: whether each folder gets its data as files.
    """

    spec: Spec
    hosts: tuple[str, ...]
    port: int = PORT
    local_port: int = LOCAL_PORT
    dealt: bool = False


def init(plan: Plan, out: Path) -> Folder:
    """Makes a deployment's folders and returns them.

    Raises:
        UserError: the experiment cannot be deployed, or ``out`` is there already.
    """
    check_deployable(plan.spec)
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out}: --out must be a new folder, and this holds files")
    spec = plan.spec
    if plan.dealt and spec.parts.task.modality != "text":
        raise UserError(
            f"--deal: writes files of texts, and {spec.task.name} has {spec.parts.task.modality}; without it each "
            "client takes its part of the experiment's own data"
        )
    data, parts = deal(spec) if plan.dealt else (data_of(spec), [])
    about = About(
        kind="all",
        id=secrets.token_hex(8),
        host=plan.hosts[0],
        port=plan.port,
        labels=list(data.splits.labels),
    )
    out.mkdir(parents=True, exist_ok=True)
    authority = out / AUTHORITY
    authority.mkdir(mode=0o700)
    certificates.make_authority(authority, about.id)
    limit = Guard(**spec.server.guard.model_dump()).max_reply_bytes(
        layout_of(state_of(data.bound.build(spec.seed)))
    )
    server = about.model_copy(
        update={"kind": "server", "local_port": plan.local_port, "max_reply_mb": round(limit / 1e6 + 1, 1)}
    )
    _make_server(out / SERVER_FOLDER, server, plan, authority, data.splits.test, data.drawn[1])
    for client in range(spec.federation.n_clients):
        held = parts[client] if plan.dealt else None
        _make_client(out / SERVER_FOLDER, server, _client_folder(out, client), spec, client, held)
    write_about(out, about)
    write_whole(out / "README.md", texts.readme(open_folder(out), spec.task.name).encode())
    return open_folder(out)


def check_deployable(spec: Spec) -> None:
    """Raises UserError where a server of real machines would rewrite what honest ones sent."""
    forge = spec.attack.forge if spec.attack else None
    if forge is not None:
        raise UserError(
            f"attack.forge: '{forge['name']}' must be left to a simulation: no real client reads the others' updates"
        )


def renew(folder: Folder, hosts: Sequence[str] = ()) -> datetime:
    """Writes a new key and certificate for the server, for ``hosts`` (default: those it has); returns its expiry."""
    server = folder.server.path
    certificate = server / certificates.SERVER_CERT
    if not hosts:
        named = certificates.hosts_of(certificates.load_certificate(certificate))
        hosts = [folder.about.host, *(host for host in named if host not in certificates.LOOPBACK)]
    return certificates.make_server_certificate(folder.path / AUTHORITY, server, hosts)


def add_client(folder: Folder) -> Path:
    """Makes the folder of one client more, or of one that was removed, beside the server's, and returns it."""
    server = folder.server
    spec, keys = server.spec(), read_keys(server.path)
    n_clients = spec.federation.n_clients
    client = min(set(range(n_clients + 1)) - set(map(int, keys)))
    if client == n_clients:
        federation = spec.federation.model_copy(update={"n_clients": n_clients + 1})
        spec = spec.model_copy(update={"federation": federation})
        write_experiment(server.path, spec)
    path = _client_folder(server.path.parent, client)
    if path.exists():
        raise UserError(f"{path}: is there already; remove it first")
    _make_client(server.path, server.about, path, spec, client, None)
    return path


def remove_client(folder: Folder, client: int) -> None:
    """Takes a client's key from the table: from now on it is refused, and a SuperLink that runs forgets its node.

    Where its folder is here, it goes, and what runs of it ends.
    """
    keys = read_keys(folder.server.path)
    if str(client) not in keys:
        known = ", ".join(sorted(keys, key=int)) or "none"
        raise UserError(f"{folder.path}: there is no client {client}; there are: {known}")
    del keys[str(client)]
    write_keys(folder.server.path, keys)
    for process in [
        one for part in folder.parts if part.about.client == client for one in processes_of(part)
    ]:
        process.stop()
    shutil.rmtree(_client_folder(folder.server.path.parent, client), ignore_errors=True)


def read_keys(server: Path) -> dict[str, str]:
    """Returns the table of public keys, by client id as text."""
    return tomllib.loads((server / KEYS).read_text(encoding="utf8"))


def write_keys(server: Path, keys: Mapping[str, str]) -> None:
    """Writes the table of public keys."""
    write_file(server / KEYS, dict(sorted(keys.items(), key=lambda item: int(item[0]))), KEYS_COMMENT)


def write_experiment(path: Path, spec: Spec) -> None:
    """Writes the experiment as far as a machine must know it."""
    write_file(
        path / EXPERIMENT, spec.to_dict(), "The experiment, as all machines of this deployment have it."
    )


def _make_server(
    path: Path, about: About, plan: Plan, authority: Path, test: Sequence[Any], clean: Sequence[Any]
) -> None:
    path.mkdir(mode=0o700)
    certificates.make_server_certificate(authority, path, plan.hosts)
    shutil.copyfile(authority / certificates.CA_CERT, path / certificates.CA_CERT)
    certificates.write_secret(path / SECRET, secrets.token_bytes(48))
    write_keys(path, {})
    write_experiment(path, plan.spec)
    data: dict[str, Any] = {"name": SHARED}
    if plan.dealt:
        (path / DATA).mkdir()
        data = {"test": _write_examples(path, "test", test, about.labels)}
        if clean:
            data["clean"] = _write_examples(path, "clean", clean, about.labels)
    write_file(path / SERVER, {"data": data}, texts.SERVER_COMMENT)
    write_about(path, about)
    texts.write_server(path, about)


def _make_client(
    server: Path, about: About, path: Path, spec: Spec, client: int, held: Sequence[Any] | None
) -> None:
    """Makes a client's folder, and enters its new key into the server's table."""
    path.mkdir(mode=0o700)
    shutil.copyfile(server / certificates.CA_CERT, path / certificates.CA_CERT)
    certificates.write_secret(path / SECRET, secrets.token_bytes(48))
    lies = spec.attack is not None and client < spec.federation.n_malicious
    write_experiment(path, _for_client(spec, lies, held is not None))
    if held is not None:
        (path / DATA).mkdir()
        data = _write_examples(path, "train", held, about.labels)
    elif spec.task.model_dump().get("dataset", {}).get("name") == "files":
        data = {"name": "file", "path": f"{DATA}/train.jsonl"}  # which its owner puts there
    else:
        data = {"name": PARTITION}
    own = {**({"malicious": True} if lies else {}), "data": data, "policy": {}}
    write_file(path / CLIENT, own, texts.CLIENT_COMMENT)
    port = about.local_port + 1 + client
    mine = about.model_copy(
        update={"kind": "client", "client": client, "local_port": port, "max_reply_mb": 0.0}
    )
    write_about(path, mine)
    texts.write_client(path, mine)
    write_keys(server, {**read_keys(server), str(client): certificates.make_node_key(path)})


def _for_client(spec: Spec, lies: bool, own_data: bool) -> Spec:
    """Returns what a client need know of an experiment: not the rule, not the server's defences, no others' paths."""
    tables = spec.to_dict()
    for key in ("repairs", "detectors", "tracking", "server", *(() if lies else ("attack",))):
        tables.pop(key, None)
    if not lies:
        tables["federation"]["n_malicious"] = 0
    for key in ("clients_per_round", "min_replies"):
        tables["federation"].pop(key, None)
    clean = spec.server.clean.n_examples
    tables["aggregator"] = {"name": "fedavg"}
    if own_data or spec.task.model_dump().get("dataset", {}).get("name") == "files":
        tables["task"]["dataset"] = {
            "name": "files",
            "train": "each client's own",
            "test": "the server's own",
        }
    elif clean:  # what the server keeps for itself is no client's
        tables["server"] = {"clean": {"n_examples": clean}}
    return parse(tables)


def _write_examples(path: Path, name: str, examples: Sequence[Any], labels: Sequence[str]) -> dict[str, str]:
    """Writes examples of texts as JSON Lines, and returns how a machine's own settings name the file."""
    pairs = any(one.second is not None for one in examples)
    lines = []
    for one in examples:
        second = {"second": one.second or ""} if pairs else {}
        lines.append(json.dumps({"text": one.text, **second, "label": labels[one.label]}, ensure_ascii=False))
    write_whole(path / DATA / f"{name}.jsonl", "".join(f"{line}\n" for line in lines).encode())
    return {"name": "file", "path": f"{DATA}/{name}.jsonl", **({"second": "second"} if pairs else {})}


def _client_folder(folder: Path, client: int) -> Path:
    return folder / f"client-{client}"
