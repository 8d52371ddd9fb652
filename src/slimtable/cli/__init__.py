"""The command line: ``slimtable COMMAND``; every command calls one function of the library and prints the result.

Every error is one line on standard error that begins with ``error:``, with exit code 2; an interruption exits with 130.
``SLIMTABLE_DEBUG=1`` shows the traceback.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from slimtable._version import __version__
from slimtable.cli import bench, compress, data, deltas, demo, export, group, pipeline, plan, report, tables, train
from slimtable.cli.options import GridCommand, TrainingCommand
from slimtable.cli.output import show
from slimtable.errors import SlimtableError

EXIT_ERROR, EXIT_INTERRUPTED = 2, 130

_LONGEST = 300  # maximum length of a message
_EXPECTED = (SlimtableError, ValueError, TypeError, IndexError, OSError, ImportError)

app = typer.Typer(
    add_completion=False,
    rich_markup_mode="rich",
    help="Slim embedding tables for recommender systems: train, compress, pack, verify and look up.",
    epilog="Start with: slimtable demo",
)


def examples(*lines: str) -> str:
    """The epilog of a command with example command lines."""
    return "\n\n".join(["Examples:", *(f"  {line}" for line in lines)])


app.command(
    epilog=examples("slimtable demo", "slimtable demo --out runs/first --json"),
)(demo.demo)
app.add_typer(data.app, name="data")
app.command(
    cls=TrainingCommand,
    epilog=examples(
        "slimtable train --data ml-1m --method mgqe --set codebook_sizes=[256,64] --out runs/mgqe",
        "slimtable train --data clicks.parquet --column user=visitor --method dpq --out runs/clicks",
    ),
)(train.train)
app.command(
    cls=GridCommand,
    epilog=examples(
        "slimtable bench --data ml-1m --methods full,low_rank,uniform,dpq,mgqe --seeds 3 --epochs 20 --out runs/gmf",
        "slimtable bench --data synthetic --methods 'full,uniform\\[bits=4],dpq\\[num_codebooks=8]' --out runs/grid",
    ),
)(bench.bench)
app.command(
    epilog=examples(
        "slimtable group --data gowalla --grouping baco --rows 25% --out gowalla-map.safetensors",
        "slimtable group --data beauty --grouping louvain --resolution 200 --json",
        "slimtable group --data edges.parquet --graph-folder graphs/edges --gamma 5",
    ),
)(group.group)
app.command(
    epilog=examples(
        "slimtable plan users.npy items.npy --plot sizes.png",
        "slimtable plan items.npy --budget 16x --frequencies counts.npy --json",
    ),
)(plan.plan)
app.command(
    epilog=examples(
        "slimtable compress user.npy item.npy --budget 16x --out tables.safetensors",
        "slimtable compress user.npy item.npy --max-drop 1% --interactions ratings.csv --out tables.safetensors",
        "slimtable compress items.npy --method uniform --set bits=4 --out items.safetensors",
        "slimtable compress model.pt --name item.weight --method mgqe --frequencies counts.npy --out items.safetensors",
    ),
)(compress.compress)
app.command(
    epilog=examples(
        "slimtable pack runs/mgqe --out model.safetensors",
        "slimtable pack runs/mgqe --epoch best --out best.safetensors",
    ),
)(tables.pack)
app.command(
    epilog=examples(
        "slimtable inspect model.safetensors",
        "slimtable inspect model.safetensors --codes --json",
        "slimtable inspect semantic_ids.npy --codes --codebook-size 256",
    ),
)(tables.inspect)
app.command(
    epilog=examples(
        "slimtable report items.safetensors items.npy --frequencies table=counts.npy",
        "slimtable report model.safetensors item.npy user.npy --queries user",
    ),
)(report.report)
app.command(
    epilog=examples(
        "slimtable export items.safetensors --format faiss --out items.faiss",
        "slimtable export model.safetensors --table item --format parquet --out item.parquet",
    ),
)(export.export)
app.command(epilog=examples("slimtable verify model.safetensors"))(tables.verify)
app.command(
    epilog=examples(
        "slimtable lookup model.safetensors item 0 1 2",
        "slimtable lookup model.safetensors item --raw 2571 --json",
    ),
    context_settings={"ignore_unknown_options": True},  # so that -1 is parsed as an id and reported as out of range
)(tables.lookup)
app.command(
    epilog=examples("slimtable delta monday.safetensors tuesday.safetensors --out tuesday.delta"),
)(deltas.delta)
app.command(
    epilog=examples("slimtable patch monday.safetensors tuesday.delta --out tuesday.safetensors"),
)(deltas.patch)

pipeline.app.command(
    epilog=examples("slimtable pipeline run examples/pipeline.yaml", "slimtable pipeline run hourly.yaml --follow"),
)(pipeline.run)
pipeline.app.command()(pipeline.status)
pipeline.app.command(epilog=examples("slimtable pipeline repair runs/hourly"))(pipeline.repair)
pipeline.app.command(epilog=examples("slimtable pipeline history runs/hourly --json"))(pipeline.history)
pipeline.app.command(epilog=examples("slimtable pipeline report runs/hourly --out report.html"))(pipeline.report)
app.add_typer(pipeline.app, name="pipeline", epilog=examples("slimtable pipeline run examples/pipeline.yaml"))


def _print_version(wanted: bool) -> None:
    if wanted:
        show(f"slimtable {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Options before the command."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command of ``slimtable``.

    Args:
        arguments: the words after ``slimtable``; None for those of the process.

    Returns:
        The exit code: 0, 2 after an error, or 130 after Ctrl-C.
    """
    return run_app(app, arguments)


def run_app(app: typer.Typer, arguments: Sequence[str] | None = None, name: str = "slimtable") -> int:
    """Runs a command of an app; every error is one line on standard error.

    Args:
        app: the commands.
        arguments: the words after the program's name; None for those of the process.
        name: name of the program.

    Returns:
        The exit code: 0, 2 after an error, or 130 after Ctrl-C.
    """
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    try:
        code = typer.main.get_command(app).main(args=words, prog_name=name, standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    except Exception as error:
        if _is_interruption(error):
            _complain("interrupted.")
            return EXIT_INTERRUPTED
        if os.environ.get("SLIMTABLE_DEBUG"):
            raise
        _complain(_describe(error))
        return EXIT_ERROR
    if code == EXIT_INTERRUPTED:
        _complain("interrupted.")
    return int(code or 0)


def _is_interruption(error: BaseException | None) -> bool:
    """True if an error comes from Ctrl-C; compiled code may wrap it in a SystemError."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__ or error.__context__
    return False


def _complain(message: str) -> None:
    """Prints a message in one line of at most 300 characters, shortened in the middle to keep the advice at its end."""
    line = "error: " + " ".join(message.split())
    if len(line) > _LONGEST:
        line = f"{line[: _LONGEST - 123]} … {line[-120:]}"
    print(line, file=sys.stderr)


def _describe(error: Exception) -> str:
    """The message of an error, with advice if it has none."""
    if hasattr(error, "format_message"):  # a usage error of typer
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "slimtable"
        return f"{error.format_message().rstrip('.')}. See `{command} --help`."
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("slimtable"):
        return f"this needs {error.name}, which is not installed. Run: pip install 'slimtable[train]'"
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return "this needs more memory than the machine has. Use less data, smaller tables or smaller batches."
    if isinstance(error, RecursionError):
        return "the input is nested too deeply. Use fewer levels of nesting."
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    if isinstance(error, _EXPECTED) and str(error):
        return str(error)
    return f"unexpected {type(error).__name__}: {error} (SLIMTABLE_DEBUG=1 shows the traceback)"
