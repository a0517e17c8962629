"""The Flower apps of a deployment: what the bundle that ``hauberk deploy run`` submits names."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid
from rich.console import Console

from hauberk.clients.app import participant_app
from hauberk.experiments.deploy.engine import DeploymentEngine
from hauberk.experiments.deploy.folder import open_folder
from hauberk.experiments.deploy.own_data import server_data
from hauberk.experiments.deploy.resident import Resident, make_resident
from hauberk.experiments.exit_codes import explain
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
client_app = participant_app(lambda context: resident(str(context.node_config["folder"])))
