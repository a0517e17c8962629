"""What a deployment's folders say to people and to what starts services: steps, units, a compose file, nginx."""

from __future__ import annotations

from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from hauberk.server.durable import write_whole

if TYPE_CHECKING:
    from hauberk.experiments.deploy.folder import About, Folder

EMBEDDED = "offline"  # the extra with the words and models that come along
EXTRAS = {"knowledge_graph": f"{EMBEDDED},kge", "stocks": f"{EMBEDDED},stocks"}  # that a task needs

SERVER_COMMENT = """\
What the server holds, and no client: paths begin at this folder.
data = { name = "shared" }     the test split and clean examples of the experiment's own data set
[data]                         or files of its own: JSON Lines, CSV, TSV, Parquet
test = { name = "file", path = "data/test.jsonl" }
clean = { name = "file", path = "data/clean.jsonl" }     where server.clean.n_examples is not 0
"""
CLIENT_COMMENT = """\
What this client's owner decides, and nobody else; paths begin at this folder.
data = { name = "file", path = "data/train.jsonl", text = "text", label = "label" }
data = { name = "hub", path = "stanfordnlp/sst2", split = "train", text = "sentence" }
data = { name = "partition" }  this client's part of the experiment's own data set: for trials
malicious = true               follows the experiment's attack; without it this client never lies
own_randomness = true          draws from its own key instead of the experiment's seed: with differential_privacy,
                               whose noise hides nothing from a server that knows the seed
[policy]                       what it refuses whatever the server asks
max_epochs = 5
max_batch_size = 64
max_seconds = 3600.0           a round that takes longer is ended
max_memory_gb = 8.0            beside what the process has mapped before it trains
plugins = ["gradient_clip"]    the only plugins that it runs
required = [{ name = "differential_privacy", noise_multiplier = 1.0 }]     which must run, so
"""


def write_server(path: Path, about: About) -> None:
    """Writes what starts the server: a systemd unit, a compose file, an nginx configuration."""
    _fill("hauberk-server.service", path, about, f"hauberk-{about.id}-server.service")
    _fill("compose.yaml", path, about, "compose.yaml")
    _fill("nginx.conf", path, about, "nginx.conf")


def write_client(path: Path, about: About) -> None:
    """Writes what starts a client: a systemd unit and a compose file."""
    _fill("hauberk-client.service", path, about, f"hauberk-{about.id}-client-{about.client}.service")
    _fill("compose-client.yaml", path, about, "compose.yaml")


def write_connection(path: Path, about: About) -> None:
    """Writes how Flower's own commands find the SuperLink of this machine, which wants the folder's place on it."""
    (path / "flower").mkdir(mode=0o700, exist_ok=True)
    _fill("config.toml", path, about, "flower/config.toml")


def readme(folder: Folder, task: str) -> str:
    """Returns the steps of a whole deployment, whose machines learn the task of this name."""
    clients = [part for part in folder.parts if part.about.kind == "client"]
    copies = "\n".join(f"scp -pr {part.path.name} THAT-MACHINE:" for part in clients)
    ups = "\n".join(f"hauberk deploy up {part.path.name}" for part in clients)
    return _template("README.md").substitute(
        _values(folder.about),
        name=folder.path.name,
        n_clients=len(clients),
        copies=copies,
        ups=ups,
        requirement=f"hauberk[{EXTRAS.get(task, EMBEDDED)}]=={version('hauberk')}",
    )


def _fill(template: str, path: Path, about: About, name: str) -> None:
    write_whole(path / name, _template(template).substitute(_values(about), path=path).encode())


def _template(name: str) -> Template:
    return Template((files("hauberk.experiments.deploy") / "templates" / name).read_text(encoding="utf8"))


def _values(about: About) -> dict[str, object]:
    return {**about.model_dump(), "address": about.address, "version": version("hauberk")}
