"""The commands ``hauberk deploy ...``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(
    name="deploy",
    help="The same experiment with the server and the clients on machines of their own.",
    no_args_is_help=True,
)
SpecPath = Annotated[Path, typer.Argument(metavar="SPEC", help="an experiment file (TOML)")]
Dir = Annotated[Path, typer.Argument(metavar="DIR", help="the deployment's folder, or one machine's")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", metavar="a.b=value", help="change one value of the spec")
]
Hosts = Annotated[
    list[str],
    typer.Option("--server", metavar="HOST", help="the server's name or address; more: --server again"),
]


@app.command()
def init(
    spec: SpecPath,
    server: Hosts,
    out: Annotated[Path, typer.Option(help="the new folder")],
    clients: Annotated[
        int | None, typer.Option(min=1, help="how many; default the spec's federation.n_clients")
    ] = None,
    deal: Annotated[
        bool, typer.Option("--deal", help="deal the spec's data out: each folder gets its own, as files")
    ] = False,
    port: Annotated[int, typer.Option(min=1, max=65535, help="that the server publishes")] = 9443,
    local_port: Annotated[
        int, typer.Option(min=1, max=65535, help="of the SuperLink on loopback; clients take those after it")
    ] = 9444,
    change: Changes = None,
) -> None:
    """Make the folders of the server's machine and of each client's: keys, certificates, settings, steps."""
    from hauberk.experiments.deploy.certificates import SERVER_CERT, check_certificate
    from hauberk.experiments.deploy.members import Plan
    from hauberk.experiments.deploy.members import init as make
    from hauberk.experiments.spec.loader import load

    changes = [*(change or []), *([f"federation.n_clients={clients}"] if clients else [])]
    settings = load(spec, changes)
    folder = make(Plan(spec=settings, hosts=tuple(server), port=port, local_port=local_port, dealt=deal), out)
    path = folder.server.path
    expiry = check_certificate(path / SERVER_CERT, path / "ca.pem")
    _say(f"{folder.path}: the server and {len(folder.parts) - 1} clients; the steps are in README.md")
    _say(f"the server's certificate expires {expiry:%Y-%m-%d}; hauberk deploy renew {out}")


@app.command()
def up(
    folder: Dir,
    proxy: Annotated[bool, typer.Option(help="publish the server by the embedded proxy")] = True,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="stay and watch; the first part that ends ends all")
    ] = False,
) -> None:
    """Start the parts that are on this machine, and wait until they are well (exit code 1 where they are not)."""
    from hauberk.experiments.deploy.folder import open_folder
    from hauberk.experiments.deploy.operate import up as start

    raise typer.Exit(start(Console(), open_folder(folder), with_proxy=proxy, foreground=foreground))


@app.command()
def down(folder: Dir) -> None:
    """End the parts that are on this machine."""
    from hauberk.experiments.deploy.folder import open_folder
    from hauberk.experiments.deploy.operate import down as end

    raise typer.Exit(end(Console(), open_folder(folder)))


@app.command()
def status(folder: Dir) -> None:
    """Show the parts that are on this machine, the clients and the runs (exit code 1 where a part is down)."""
    from hauberk.experiments.deploy.folder import open_folder
    from hauberk.experiments.deploy.operate import status as look

    raise typer.Exit(look(Console(), open_folder(folder)))


@app.command()
def run(
    folder: Dir,
    change: Changes = None,
    out: Annotated[Path | None, typer.Option(help="copy the run's folder here at the end")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="submit, and do not wait")] = False,
) -> None:
    """Play the experiment on the server of this machine, or go on with it, or follow it while it goes on."""
    from hauberk.experiments.deploy.folder import open_folder
    from hauberk.experiments.deploy.follow import deploy_run

    raise typer.Exit(deploy_run(Console(), open_folder(folder), change or [], out, detach=detach))


@app.command()
def stop(folder: Dir) -> None:
    """End the run that goes on; run goes on with it."""
    from hauberk.experiments.deploy.folder import open_folder
    from hauberk.experiments.deploy.follow import deploy_stop

    raise typer.Exit(deploy_stop(Console(), open_folder(folder)))


@app.command()
def renew(
    folder: Dir,
    server: Annotated[
        list[str] | None,
        typer.Option("--server", metavar="HOST", help="new names or addresses of the server"),
    ] = None,
) -> None:
    """Give the server a new key and certificate."""
    from hauberk.experiments.deploy.folder import open_folder
    from hauberk.experiments.deploy.members import renew as make

    expiry = make(open_folder(folder), server or [])
    _say(
        f"the server's certificate expires {expiry:%Y-%m-%d}; copy server.key and server.pem to the server's machine "
        "and start it again"
    )


@app.command(name="add-client")
def add_client(folder: Dir) -> None:
    """Make the folder of one more client, or of one that was removed, with a key of its own."""
    from hauberk.experiments.deploy.folder import open_folder
    from hauberk.experiments.deploy.members import add_client as make
    from hauberk.experiments.deploy.operate import admit

    opened = open_folder(folder)
    made = make(opened)
    admit(opened)
    _say(f"{made}: copy it to its machine, and there: hauberk deploy up {made.name}")


@app.command(name="remove-client")
def remove_client(
    folder: Dir, client: Annotated[int, typer.Argument(help="which one, by its number")]
) -> None:
    """Take a client's key from the server: it is refused from now on."""
    from hauberk.experiments.deploy.folder import open_folder
    from hauberk.experiments.deploy.members import remove_client as remove
    from hauberk.experiments.deploy.operate import admit

    opened = open_folder(folder)
    remove(opened, client)
    admit(opened)
    _say(f"client {client} is removed: its key is worth nothing any more")


def _say(text: str) -> None:
    Console().print(text, markup=False, highlight=False, soft_wrap=True)
