"""What becomes of a deployment when links are cut, clients are killed, hang, lie or are strangers, and servers die.

As root: each machine is a network namespace. One server, four clients of which one is malicious, a small job on the
embedded tweets; each case is one run on them, and says how it ended and what its records say. The table goes into
docs/deployment.md:

    python benchmarks/deployment_outcomes.py --out /tmp/outcomes [--only cut,killed,...]
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the helpers of the tests

from hauberk.experiments.deploy.folder import open_folder
from hauberk.experiments.deploy.processes import processes_of
from hauberk.experiments.runner.records import read_rounds, read_summary
from tests.helpers.deployment import deploy, logs, make
from tests.helpers.namespaces import Machine, Network, why_not

ROUNDS = 8
TABLES: dict[str, Any] = {
    "task": {"dataset": {"name": "tweet_sentiment"}, "model": {"name": "text_cnn"}, "n_train": 2000},
    "federation": {"n_clients": 4, "n_malicious": 1, "rounds": ROUNDS},
    "attack": {"poison": {"name": "bad_word", "target": 1}},
    "aggregator": {"name": "fedavg"},
    "server": {"twin": False},
    "engine": {"node_wait_s": 90, "round_timeout_s": 30},
}
HOSTILE = Path(__file__).resolve().parent / "hostile_client"


class Site:
    """The machines, their folders and what runs on them."""

    def __init__(self, folder: Path, network: Network) -> None:
        self.network, self.folder = network, folder
        self.names = ["server", *(f"client-{client}" for client in range(4))]
        made = make({**TABLES, "name": "outcomes"}, folder / "made", host=network.machines[0].address)
        for machine, name in zip(network.machines, self.names, strict=True):
            shutil.copytree(made / name, machine.home / name)
        self.made = made

    def machine(self, name: str) -> Machine:
        """Returns the machine that has the folder ``name``."""
        return self.network.machines[self.names.index(name)]

    def home(self, name: str) -> Path:
        """Returns where a folder is on its machine."""
        return self.machine(name).home / name

    def up(self, *names: str, environment: tuple[str, ...] = ()) -> str:
        """Starts these parts; returns what they said."""
        said = []
        for name in names or self.names:
            inside = (*self.machine(name).inside, *environment)
            code, text = deploy("up", self.home(name), inside=inside, timeout=300)
            said.append(text)
            if code and not environment:
                raise RuntimeError(f"{name}: {text}\n{logs(self.home(name))}")
        return " ".join(said)

    def down(self, *names: str) -> None:
        """Ends these parts."""
        for name in names or self.names:
            deploy("down", self.home(name), inside=self.machine(name).inside)

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Sends a signal to all that runs of a part."""
        for process in processes_of(open_folder(self.home(name)).parts[0]):
            if (pid := process.pid()) is not None:
                os.killpg(pid, number)

    @contextmanager
    def run(self, name: str) -> Any:
        """Yields a run that goes on, and waits for its end."""
        server = self.machine("server")
        command = [*server.inside, sys.executable, "-c", "from hauberk.experiments.cli import main; main()"]
        command += ["deploy", "run", str(self.home("server")), "--set", f'name="{name}"']
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        run = Run(self, name, process)
        yield run
        run.said, _ = process.communicate(timeout=900)
        run.code = process.returncode


class Run:
    """One run, as its records say."""

    def __init__(self, site: Site, name: str, process: subprocess.Popen) -> None:
        self.site, self.name, self.process = site, name, process
        self.code, self.said = -1, ""

    @property
    def folder(self) -> Path:
        """Where its records are."""
        return next(iter((self.site.home("server") / "runs").glob(f"{self.name}-*")), Path("nowhere"))

    def rounds(self) -> list[dict[str, Any]]:
        """Returns its records."""
        return read_rounds(self.folder) if (self.folder / "rounds.jsonl").exists() else []

    def wait_for(self, number: int, seconds: float = 300) -> None:
        """Waits until round ``number`` is recorded."""
        end = time.monotonic() + seconds
        while len(self.rounds()) < number:
            if time.monotonic() > end or self.process.poll() is not None:
                raise RuntimeError(
                    f"{self.name}: round {number} does not come\n{logs(self.site.home('server'))}"
                )
            time.sleep(0.1)

    def summary(self) -> dict[str, Any]:
        """Returns its summary."""
        return read_summary(self.folder / "summary.json")

    def refused(self) -> str:
        """Returns which client was refused when and why, in one line, and whose late replies were dropped."""
        by_reason: dict[tuple[str, str], list[int]] = {}
        for line in self.rounds():
            for client, reason in [*line["refused"].items(), *line.get("late", {}).items()]:
                by_reason.setdefault((client, reason.removeprefix("error reply: ")), []).append(line["round"])
        return "; ".join(
            f"round {', '.join(map(str, numbers))}: client {client}: {reason}"
            for (client, reason), numbers in by_reason.items()
        )


def undisturbed(site: Site) -> str:
    """Nothing happens."""
    with site.run("undisturbed") as run:
        pass
    return told(run)


def cut(site: Site) -> str:
    """Client 2's link is cut in round 2 and mended two rounds later."""
    with site.run("cut") as run:
        run.wait_for(1)
        site.network.cut(3)
        run.wait_for(3)
        site.network.cut(3, cut=False)
    return told(run)


def killed(site: Site) -> str:
    """Client 3 is killed in round 2 and started again after round 4."""
    with site.run("killed") as run:
        run.wait_for(1)
        site.kill("client-3")
        run.wait_for(4)
        site.up("client-3")
    return told(run)


def hanging(site: Site) -> str:
    """Client 1 stands still from round 2 on, past the deadline, and goes on after round 4."""
    with site.run("hanging") as run:
        run.wait_for(1)
        site.kill("client-1", signal.SIGSTOP)
        run.wait_for(4)
        site.kill("client-1", signal.SIGCONT)
    return told(run)


def stranger(site: Site) -> str:
    """A SuperNode without a key tries to come in."""
    machine = site.machine("client-3")
    about, proxy_log = open_folder(site.home("client-3")).about, site.home("server") / "logs" / "proxy.log"
    command = ["flower-supernode", "--superlink", about.address, "--max-retries", "1", "--port", "9999"]
    command += ["--root-certificates", str(site.home("client-3") / "ca.pem")]
    process = subprocess.Popen(
        [*machine.inside, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        said, _ = process.communicate(timeout=60)
        ended = f"exit code {process.returncode}: {' '.join(said.split())[-160:]!r}"
    except subprocess.TimeoutExpired:
        process.kill()
        ended = "it still tries after 60 s"
    refusals = [
        line
        for line in proxy_log.read_text().splitlines()
        if machine.address in line and ("register" in line or "401" in line)
    ]
    return f"{ended}; the proxy refused it {len(refusals)} times: {(refusals or ['-'])[-1].split('WARNING ')[-1]}"


def foreign(site: Site) -> str:
    """A client of another deployment, with another authority's certificate, is pointed at this server."""
    other = make({**TABLES, "name": "foreign"}, site.folder / "foreign", host=site.machine("server").address)
    path = other / "client-3" / "deployment.toml"
    port = open_folder(site.home("server")).about.port
    path.write_text(
        "\n".join(
            f"port = {port}" if line.startswith("port") else line for line in path.read_text().splitlines()
        )
    )
    code, text = deploy("up", other / "client-3", inside=site.machine("client-3").inside)
    return f"`deploy up` exits {code}: {text.strip()}"


def revoked(site: Site) -> str:
    """Client 3 is removed in round 2, and comes back after the run with a new key and its old data."""
    server, machine = site.home("server"), site.machine("client-3")
    with site.run("revoked") as run:
        run.wait_for(1)
        deploy("remove-client", server, "3", inside=site.machine("server").inside)
    site.down("client-3")
    deploy("add-client", server, inside=site.machine("server").inside)
    old, new = machine.home / "removed", site.home("client-3")
    new.rename(old)
    shutil.move(server.parent / "client-3", new)
    shutil.copy(old / "client.toml", new)
    shutil.copytree(old / "data", new / "data", dirs_exist_ok=True)
    site.up("client-3")
    return told(run)


def version(site: Site) -> str:
    """Client 3 runs another version of hauberk."""
    folder = site.folder / "other_version" / "hauberk-9.9.9.dist-info"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: hauberk\nVersion: 9.9.9\n")
    return hostile(site, "version", f"PYTHONPATH={folder.parent}:{os.environ.get('PYTHONPATH', '')}")


def nan(site: Site) -> str:
    """Client 3 sends NaN from round 2 on."""
    return hostile(site, "nan", f"PYTHONPATH={HOSTILE}:{os.environ.get('PYTHONPATH', '')}", "HOSTILE=nan")


def state(site: Site) -> str:
    """Client 3 sends a state of 1 GB from round 2 on."""
    return hostile(site, "state", f"PYTHONPATH={HOSTILE}:{os.environ.get('PYTHONPATH', '')}", "HOSTILE=state")


def hostile(site: Site, name: str, *environment: str) -> str:
    """Starts client 3 with another program, and returns what becomes of a run."""
    site.down("client-3")
    site.up("client-3", environment=environment)
    with site.run(name) as run:
        pass
    site.down("client-3")
    site.up("client-3")
    return told(run)


def superlink(site: Site) -> str:
    """The SuperLink is killed -9 in round 3 and started again; `deploy run` again."""
    with site.run("superlink") as first:
        first.wait_for(2)
        site.kill("server")
    site.down("server")
    site.up("server")
    with site.run("superlink") as again:
        pass
    return f"first exit code {first.code}; again: {told(again)}"


def host(site: Site) -> str:
    """The server's whole machine is switched off in round 3: every process and its address; `deploy run` again."""
    with site.run("host") as first:
        first.wait_for(2)
        site.kill("server")
        first.process.kill()
    for k in range(1, 5):
        site.network.cut(k)
    time.sleep(5)
    for k in range(1, 5):
        site.network.cut(k, cut=False)
    site.up("server")
    with site.run("host") as again:
        pass
    return f"again: {told(again)}"


def told(run: Run) -> str:
    """Returns how a run ended, in one line."""
    done = run.summary()["model_sha256"][:8] if run.code == 0 else run.said.strip()[-200:]
    return (
        f"exit code {run.code}, {len(run.rounds())} rounds, model {done}; {run.refused() or 'nobody refused'}"
    )


CASES: dict[str, Callable[[Site], str]] = {
    case.__name__: case
    for case in (
        undisturbed, cut, killed, hanging, stranger, foreign, revoked, version, nan, state, superlink, host,
    )
}  # fmt: skip


def main() -> None:
    """Plays the cases and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    parser.add_argument("--only", default=",".join(CASES))
    asked = parser.parse_args()
    if reason := why_not():
        sys.exit(reason)
    with Network(5, asked.out / "machines") as network:
        site = Site(asked.out, network)
        site.up()
        try:
            for name in asked.only.split(","):
                started = time.monotonic()
                try:
                    outcome = CASES[name](site)
                except Exception as error:
                    outcome = f"FAILED: {type(error).__name__}: {error}"
                doc = " ".join((CASES[name].__doc__ or "").split())
                print(f"| {name} | {doc} | {outcome} | {time.monotonic() - started:.0f} |", flush=True)
        finally:
            site.down()


if __name__ == "__main__":
    main()
