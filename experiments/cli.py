"""The command line: ``hauberk run SPEC`` and what one does with a run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from hauberk.experiments.deploy.cli import app as deploy
from hauberk.experiments.exit_codes import INTERRUPTED, explain

app = typer.Typer(
    name="hauberk",
    help="Which defence keeps a federated NLP model clean under which backdoor attack?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(deploy)
SpecPath = Annotated[Path, typer.Argument(metavar="SPEC", help="an experiment file (TOML)")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", metavar="a.b=value", help="change one value of the spec")
]
GridPath = Annotated[
    Path,
    typer.Argument(
        metavar="GRID", help="a grid file (TOML), a spec with a [grid]; or the name of one that ships"
    ),
]
Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="KEY=LABEL,...", help="play these values of a key of the grid alone"),
]
DetectorChanges = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME.key=value", help="change one value of a detector: dan.protected=1"),
]

RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="the folder of a finished run")]


def show_version(asked: bool) -> None:
    """Prints which Hauberk this is, and ends, where that is what was asked."""
    if asked:
        from importlib.metadata import version

        typer.echo(f"hauberk {version('hauberk')}")
        raise typer.Exit


@app.callback()
def main_options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="show the version and exit"),
    ] = False,
) -> None:
    """Takes the options of the program itself."""


@app.command()
def run(
    spec: SpecPath,
    change: Changes = None,
    out: Annotated[Path | None, typer.Option(help="the run's folder; default runs/<name>-<hash8>")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the last checkpoint")] = False,
    address: Annotated[
        str | None,
        typer.Option(
            help="the Ray cluster: auto (that `ray start` started here), HOST:PORT or ray://HOST:PORT; "
            "default RAY_ADDRESS, or else a Ray of the run's own"
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="show nothing but errors")] = False,
) -> None:
    """Run one experiment and leave a folder with its records."""
    from hauberk.experiments.report.tables import show_summary
    from hauberk.experiments.runner.execute import run as run_spec
    from hauberk.experiments.runner.progress import Terminal
    from hauberk.experiments.spec.loader import load

    console = Console(quiet=quiet)
    with Terminal(console) as screen:
        settings = load(spec, change or [])
        result = run_spec(settings, out=out, resume=resume, screen=screen, address=address)
    show_summary(console, result.summary, result.folder)


@app.command()
def plan(
    spec: Annotated[
        Path, typer.Argument(metavar="SPEC", help="an experiment file, a grid, or one that ships")
    ],
    change: Changes = None,
    only: Only = None,
    out: Annotated[Path | None, typer.Option(help="of a grid: the benchmark's folder")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="of a grid: cells at once")] = None,
) -> None:
    """Estimate a run's minutes and memory, or a grid's hours, memory and disk, from one batch of each kind."""
    from hauberk.experiments.bench.grid_file import is_grid
    from hauberk.experiments.runner.plan import estimate
    from hauberk.experiments.spec.loader import load

    console = Console()
    if not is_grid(spec):
        console.print(str(estimate(load(spec, change or []))), highlight=False, soft_wrap=True)
        return
    from hauberk.experiments.bench.plan import check_fits, plan_grid

    found = plan_grid(spec, workers=workers, changes=change or [], only=only or [])
    console.print(str(found), highlight=False, soft_wrap=True)
    check_fits(found, out)


@app.command()
def bench(
    grid: GridPath,
    change: Changes = None,
    only: Only = None,
    out: Annotated[Path | None, typer.Option(help="the benchmark's folder; default runs/<name>")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="cells at once; default one a core")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="play the cells that are not finished")] = False,
    address: Annotated[str | None, typer.Option(help="a Ray cluster: auto, host:port or ray://...")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="show nothing but errors")] = False,
) -> None:
    """Play every cell of a grid, each once; exit code 4 where some failed."""
    from hauberk.experiments.bench.command import bench_grid, show_outcome

    console = Console(quiet=quiet)
    outcome = bench_grid(
        console,
        grid,
        out=out,
        workers=workers,
        resume=resume,
        address=address,
        changes=tuple(change or ()),
        only=tuple(only or ()),
    )
    raise typer.Exit(show_outcome(console, outcome))


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="a benchmark's folder, finished or not")],
    html: Annotated[Path | None, typer.Option(help="one page that opens from disk")] = None,
    markdown: Annotated[Path | None, typer.Option(help="the same figures as Markdown")] = None,
    csv: Annotated[Path | None, typer.Option(help="a row a cell")] = None,
    parquet: Annotated[Path | None, typer.Option(help="a row a cell, typed")] = None,
    figure: Annotated[
        Path | None, typer.Option(help="each rule's worst attacker against its worth; .png, .svg or .pdf")
    ] = None,
) -> None:
    """Report a benchmark; by default as DIR/report.html and DIR/report.md."""
    from hauberk.experiments.bench.report import report_benchmark

    written = report_benchmark(folder, html=html, markdown=markdown, csv=csv, parquet=parquet, picture=figure)
    for path in written:
        Console().print(str(path), highlight=False)


@app.command()
def export(
    run_folder: RunPath,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="where to write the model")],
) -> None:
    """Write a finished run's model: a Hugging Face folder, or safetensors with the label map."""
    from hauberk.experiments.analysis.export import export_model

    Console().print(export_model(run_folder, folder), highlight=False, soft_wrap=True)


@app.command()
def answer(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="what hauberk export wrote")],
    texts: Annotated[
        Path, typer.Option("--input", metavar="FILE", help='JSON Lines with "text", or lines of plain text')
    ],
) -> None:
    """Answer new texts, one JSON line each, with an exported model whose rule defends it while it answers."""
    from hauberk.experiments.analysis.served import read_served, show_answers
    from hauberk.experiments.analysis.text_input import read_texts

    show_answers(Console(), read_served(folder).answer(read_texts(texts)))


@app.command()
def evict(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="what hauberk export wrote")],
    texts: Annotated[
        Path,
        typer.Option("--input", metavar="FILE", help='texts that came in: JSON Lines with "text", or lines'),
    ],
    out: Annotated[Path | None, typer.Option(help="where to write the model without them")] = None,
    significance: Annotated[float, typer.Option(help="chance that clean texts evict somebody")] = 1e-3,
) -> None:
    """Find the clients that answers do without too often; write a model without their parts, which answers alone."""
    from hauberk.experiments.analysis.evict import evict_clients
    from hauberk.experiments.analysis.text_input import read_texts

    evict_clients(Console(), folder, read_texts(texts), out, significance)


@app.command(name="list")
def list_names(
    kind: Annotated[
        str | None,
        typer.Argument(
            help="aggregators, attacks, tasks, datasets, models, partitions, plugins, repairs or detectors"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """List the names that a spec can use, with their parameters and defaults."""
    from hauberk.experiments.report.tables import catalogue, show_catalogue

    show_catalogue(Console(), catalogue(kind), as_json=as_json)


@app.command()
def schema() -> None:
    """Print the JSON Schema of an experiment file, for editors that complete and check one while it is written."""
    import json

    from hauberk.experiments.spec.schema import spec_schema

    typer.echo(json.dumps(spec_schema(), indent=1, ensure_ascii=False))


@app.command()
def compare(
    run_folders: Annotated[list[Path], typer.Argument(metavar="RUN...", help="folders of finished runs")],
    plot: Annotated[Path | None, typer.Option(help="draw the runs side by side into this PNG")] = None,
) -> None:
    """Show finished runs side by side, and how each one's answers differ from the first one's."""
    from hauberk.experiments.analysis.compare import show_side_effects
    from hauberk.experiments.report.tables import show_runs

    console = Console()
    show_runs(console, run_folders, plot)
    if len(run_folders) > 1:
        show_side_effects(console, run_folders)


@app.command()
def repair(
    run_folder: RunPath,
    repairs: Annotated[
        list[str],
        typer.Option("--repair", metavar="NAME", help="a repair; more are applied one after another"),
    ],
    change: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME.key=value", help="change one value of a repair")
    ] = None,
    clean: Annotated[int | None, typer.Option(help="how many of the server's clean examples")] = None,
    out: Annotated[Path | None, typer.Option(help="write the repaired model into this new folder")] = None,
) -> None:
    """Repair a finished run's model, and show what that changes; the run itself is left alone."""
    from hauberk.experiments.analysis.repair import repair_run

    repair_run(Console(), run_folder, repairs, change or [], n_clean=clean, out=out)


@app.command()
def detect(
    run_folder: RunPath,
    detectors: Annotated[
        list[str] | None, typer.Option("--detector", metavar="NAME", help="default: all of them")
    ] = None,
    change: DetectorChanges = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Score how well detectors, set as in the run's spec, tell triggered texts from clean ones on its model."""
    from hauberk.experiments.analysis.detect import asked, detect_run, show_detect
    from hauberk.experiments.analysis.flags import show_flags
    from hauberk.server.detectors import DETECTORS

    names = detectors or sorted(DETECTORS)
    with Console(stderr=True).status(f"detectors: {', '.join(names)}"):
        reports = detect_run(run_folder, asked(run_folder, names, change or []))
    show_detect(Console(), reports, as_json=as_json)
    if not as_json:
        show_flags(Console(), run_folder)


@app.command()
def guard(
    run_folder: RunPath,
    texts: Annotated[
        Path, typer.Option("--input", metavar="FILE", help='JSON Lines with "text", or lines of plain text')
    ],
    detector: Annotated[str, typer.Option(metavar="NAME", help="who judges them")] = "dan",
    change: DetectorChanges = None,
    rate: Annotated[
        float, typer.Option("--false-rejections", help="the share of clean texts that may be rejected")
    ] = 0.05,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON Lines")] = False,
) -> None:
    """Label new texts with a finished run's model: prediction, score, and whether to trust it.

    The detector is set as in the run's spec, where it has that one.
    """
    from hauberk.experiments.analysis.detect import asked
    from hauberk.experiments.analysis.screen_texts import guard_run, show_guard
    from hauberk.experiments.analysis.text_input import read_texts

    (settled,) = asked(run_folder, [detector], change or [])
    show_guard(Console(), guard_run(run_folder, read_texts(texts), settled, rate), as_json=as_json)


@app.command()
def crosscheck(
    run_folder: RunPath,
    number: Annotated[int, typer.Option("--round", help="a round whose updates were kept")],
) -> None:
    """Replay a kept round through every convention of every rule, and show whom each would have believed."""
    from hauberk.experiments.analysis.crosscheck import show_crosscheck

    show_crosscheck(Console(), run_folder, number)


@app.command()
def theory(run_folder: RunPath) -> None:
    """Show and draw how detectable the liars were, predicted and observed."""
    from hauberk.experiments.analysis.theory import show_theory

    show_theory(Console(), run_folder)


@app.command()
def why(
    run_folder: RunPath,
    client: Annotated[int | None, typer.Option(help="look at this client; default all")] = None,
    number: Annotated[int | None, typer.Option("--round", help="look at this round; default all")] = None,
) -> None:
    """Show and draw whom a run believed in each round; of one client in one round, what decided about it."""
    from hauberk.experiments.analysis.why import why_run

    why_run(Console(), run_folder, client, number)


@app.command()
def verify(
    run_folder: RunPath,
    number: Annotated[int | None, typer.Option("--round", help="play this round again; default all")] = None,
    records_only: Annotated[
        bool, typer.Option("--records-only", help="check the chain of hashes, and play nothing")
    ] = False,
) -> None:
    """Check a run's records and play its rounds again: the same bits, or where they first differ (exit code 1)."""
    from hauberk.experiments.analysis.verify import verify_run

    raise typer.Exit(verify_run(Console(), run_folder, number, replay=not records_only))


def main() -> None:
    """Runs the command line; a mistake is one line and exit code 2, a failed round 3, an interrupt 130."""
    sys.exit(_main())


def _main(arguments: list[str] | None = None) -> int:
    errors = Console(stderr=True)
    try:
        code = app(args=arguments, standalone_mode=False)
    except Exception as error:
        if (known := explain(error)) is None:
            raise
        code, text = known
        errors.print(f"[red]hauberk:[/] {escape(text)}", highlight=False, soft_wrap=True)
        return code
    except KeyboardInterrupt:
        code = INTERRUPTED
    if code == INTERRUPTED:  # which newer versions of typer return, and older ones let through
        errors.print("hauberk: interrupted", highlight=False)
    return code or 0
