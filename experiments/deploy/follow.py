"""``hauberk deploy run``: submits a run, or finds the one that goes on, shows what it shows, and says how it ended."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from hauberk.experiments.deploy.control import Control, control_of
from hauberk.experiments.deploy.folder import EXPERIMENT, Folder, Part
from hauberk.experiments.deploy.members import check_deployable
from hauberk.experiments.runner.lock import NAME as LOCK
from hauberk.experiments.runner.lock import is_locked
from hauberk.experiments.runner.records import SUMMARY
from hauberk.experiments.spec.loader import Spec, parse, read_tables
from hauberk.server.durable import write_whole
from hauberk.tasks.errors import UserError

RUNS, SCREENS = "runs", "screens"
POLL_S, ASK_S, LEAVE_S = 0.1, 3.0, 30.0


def deploy_run(
    console: Console,
    folder: Folder,
    changes: Sequence[str] = (),
    out: Path | None = None,
    *,
    detach: bool = False,
) -> int:
    """Plays the experiment on the deployment, and returns the exit code that ``hauberk run`` would have.

    A run that goes on already is followed, one that was broken off goes on, and a finished one is shown.

    Args:
        console: what is shown on.
        folder: of the server.
        changes: ``a.b=value`` of what is the server's alone, such as the rule.
        out: where the run's folder is copied at the end.
        detach: whether to return once it is submitted.

    Raises:
        UserError: it cannot be submitted.
    """
    part = folder.server
    spec = changed(part, changes)
    name = f"{spec.name}-{spec.hash[:8]}"
    run = part.path / RUNS / name
    files = _Files(part.path / SCREENS, name)
    with control_of(part) as control:
        number = _going_on(control, run, files)
        if number is None:
            start = files.begin(spec)
            number = control.start(
                {"folder": str(part.path), "spec": str(files.spec), "out": str(run),
                 "screen": str(files.screen), "outcome": str(files.outcome)}
            )  # fmt: skip
        else:
            start = 0
            console.print(f"run {number} goes on; this is its screen", highlight=False)
        if detach:
            console.print(f"run {number}: {run}", highlight=False)
            return 0
        try:
            code = _follow(console, control, number, files, start)
        except KeyboardInterrupt:
            console.print(
                f"run {number} goes on without this screen; the same command shows it again, "
                "hauberk deploy stop ends it",
                highlight=False,
            )
            raise
    if out is not None and (run / SUMMARY).exists():
        _fetch(run, out)
        console.print(f"copied to {out}", highlight=False)
    return code


def deploy_stop(console: Console, folder: Folder) -> int:
    """Ends the runs that go on; the same command as before goes on with them later."""
    with control_of(folder.server) as control:
        running = control.running()
        for number in running:
            control.stop(number)
    stopped = ", ".join(map(str, running))
    console.print(f"stopped: {stopped}" if running else "no run goes on", highlight=False)
    return 0


def changed(part: Part, changes: Sequence[str]) -> Spec:
    """Returns the experiment with changes made in it.

    Raises:
        UserError: a change is of what the clients' machines were set up for.
    """
    before = part.spec()
    spec = parse(read_tables(part.path / EXPERIMENT), changes)
    check_deployable(spec)
    for key in ("task", "seed", "attack"):
        if getattr(spec, key) != getattr(before, key):
            raise UserError(
                f"--set {key}: the clients were set up with another; hauberk deploy init makes anew"
            )
    if spec.federation.n_clients != before.federation.n_clients:
        raise UserError("--set federation.n_clients: hauberk deploy add-client and remove-client change it")
    # A twin would need the clients' data here.
    return spec.model_copy(update={"server": spec.server.model_copy(update={"twin": False})})


class _Files:
    """What the server's process and who follows it have in common.

    Attributes:
        spec: of the run.
        screen: what the run shows.
        outcome: how it ended.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.spec, self.screen = folder / f"{name}.toml", folder / f"{name}.log"
        self.outcome = folder / f"{name}.json"

    def begin(self, spec: Spec) -> int:
        """Makes them ready for a start, and returns where the screen begins."""
        self.spec.parent.mkdir(mode=0o700, exist_ok=True)
        self.outcome.unlink(missing_ok=True)
        write_whole(self.spec, spec.to_toml().encode())
        return self.screen.stat().st_size if self.screen.exists() else 0

    def result(self) -> dict[str, Any] | None:
        """Returns how it ended; None while it has not."""
        return json.loads(self.outcome.read_text()) if self.outcome.exists() else None


def _going_on(control: Control, run: Path, files: _Files) -> int | None:
    """Returns the run that writes this folder now; one whose process is gone, or that has said how it ended, is over.

    Raises:
        UserError: another run goes on.
    """
    for number, config in control.running().items():
        if config.get("out") != str(run):
            raise UserError(f"another run goes on, {config.get('out')}; hauberk deploy stop ends it")
        ended = files.result() is not None
        if not ended and (is_locked(run) or control.is_starting(number)):
            return number
        if not (ended and _leaves(control, number)):
            control.stop(number)
    return None


def _leaves(control: Control, number: int) -> bool:
    """Returns whether a run that has said how it ended is over, too: its process tidies up for some seconds."""
    end = time.monotonic() + LEAVE_S
    while (goes_on := number in control.running()) and time.monotonic() < end:
        time.sleep(POLL_S)
    return not goes_on


def _follow(console: Console, control: Control, number: int, files: _Files, start: int) -> int:
    """Shows the run's screen until it has ended; returns its exit code."""
    asked, place = 0.0, start
    while True:
        result = files.result()
        place = _show(console, files.screen, place)
        if result is not None:
            break
        if time.monotonic() - asked > ASK_S:
            is_over, how = control.status(number)
            asked = time.monotonic()
            if is_over and (result := files.result()) is None:
                result = {"code": 1, "text": f"run {number}: {how}; the same command goes on with it"}
                break
        time.sleep(POLL_S)
    _show(console, files.screen, place)
    if result["text"]:
        console.print(f"[red]hauberk:[/] {escape(result['text'])}", highlight=False, soft_wrap=True)
    return result["code"]


def _show(console: Console, screen: Path, place: int) -> int:
    if not screen.exists():
        return place
    with screen.open("rb") as file:
        file.seek(place)
        text = file.read()
    whole = text.rfind(b"\n") + 1
    if whole:
        console.print(
            text[:whole].decode("utf8", "replace"), end="", markup=False, highlight=False, soft_wrap=True
        )
    return place + whole


def _fetch(run: Path, out: Path) -> None:
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out}: --out must be a new folder, and this holds files")
    shutil.copytree(run, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns(LOCK))
