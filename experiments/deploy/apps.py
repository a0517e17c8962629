"""The Flower apps of a deployment: what the bundle that ``hauberk deploy run`` submits names."""

from __future__ import annotations

import json
from functools import partial
from importlib.metadata import version
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from rich.console import Console

from hauberk.clients import wire
from hauberk.clients.app import error_message, layout_hash
from hauberk.clients.messages import Handshake
from hauberk.experiments.deploy.engine import DeploymentEngine
from hauberk.experiments.deploy.folder import open_folder
from hauberk.experiments.deploy.own_data import server_data
from hauberk.experiments.deploy.resident import Resident, make_resident
from hauberk.experiments.report.tables import show_summary
from hauberk.experiments.runner.execute import run_on
from hauberk.experiments.runner.progress import Terminal
from hauberk.experiments.spec import loader
from hauberk.server import app as server
from hauberk.server.durable import write_whole

_RESIDENTS: dict[str, Resident] = {}  # by folder: what a process has loaded, and those that it forks


def resident(folder: str) -> Resident:
    """Returns what this process keeps for a client, loaded at the first call."""
    if folder not in _RESIDENTS:
        _RESIDENTS[folder] = make_resident(folder)
    return _RESIDENTS[folder]


def main(grid: Grid, context: Context) -> None:
    """Plays the run that the configuration names, or goes on with it; its screen goes to a file, for who follows it.

    How it ended is in ``outcome`` beside that: the exit code that ``hauberk run`` would have, and a line.
    """
    from hauberk.experiments.exit_codes import explain

    screen, outcome = Path(str(context.run_config["screen"])), Path(str(context.run_config["outcome"]))
    code, text = 0, ""
    try:
        play(grid, context, screen)
    except BaseException as error:
        code, text = explain(error) or (1, f"{type(error).__name__}: {error}")
        raise
    finally:
        write_whole(outcome, json.dumps({"code": code, "text": " ".join(text.split())}).encode())


def play(grid: Grid, context: Context, screen: Path) -> None:
    """Plays the run."""
    part = open_folder(str(context.run_config["folder"])).server
    spec, out = loader.load(str(context.run_config["spec"])), Path(str(context.run_config["out"]))
    with screen.open("a", encoding="utf8") as file:
        console = Console(file=file, width=120)
        with Terminal(console) as shown:
            engine = partial(DeploymentEngine, grid, part)
            result = run_on(engine, spec, out, shown, resume=True, data=server_data(part, spec))
        show_summary(console, result.summary, out)


server_app = server.server_app(main)
client_app = ClientApp()


@client_app.query()
def handshake(message: Message, context: Context) -> Message:
    """Says who this client is."""
    try:
        one = resident(str(context.node_config["folder"]))
        about = Handshake(one.client, version("hauberk"), layout_hash(one.worker.model), dict(one.agreed))
    except Exception as error:  # whatever goes wrong on a client is the server's to record
        return error_message(f"{type(error).__name__}: {error}", message)
    return Message(wire.pack_handshake(about), reply_to=message)


@client_app.train()
def fit(message: Message, context: Context) -> Message:
    """Trains for a round."""
    try:
        one = resident(str(context.node_config["folder"]))
        reply = wire.pack_reply(one.fit(wire.unpack_instruction(message.content, one.client)))
    except Exception as error:  # whatever goes wrong on a client is the server's to record
        return error_message(f"{type(error).__name__}: {error}", message)
    return Message(reply, reply_to=message)
