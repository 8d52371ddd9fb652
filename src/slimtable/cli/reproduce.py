"""``slimtable reproduce``: the tables and figures of a paper, with its values beside ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slimtable.cli.options import DataRoot, Json
from slimtable.cli.output import show, show_json, table

if TYPE_CHECKING:
    from slimtable.reproduce.items import Rendered

app = typer.Typer(help="Reproduce the tables and figures of a paper.", no_args_is_help=True)

_OUT, _QUICK_OUT = Path("runs/mgqe"), Path("runs/mgqe-quick")


def mgqe(
    only: Annotated[
        list[str] | None,
        typer.Option(help="A table or figure, such as table4; may be repeated.", show_default="all of them"),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer epochs in larger steps: minutes instead of days, said in captions.")
    ] = False,
    render: Annotated[bool, typer.Option("--render", help="Train nothing; draw what is there, gaps and all.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of results; finished runs in it are not repeated.",
            show_default=f"{_OUT}, or {_QUICK_OUT} with --quick",
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(min=1, help="Seeds of each row of the tables.", show_default="3; 1 or 2 with --quick"),
    ] = None,
    batch_size: Annotated[
        list[str] | None,
        typer.Option(
            metavar="BACKBONE=N",
            help="Another batch size for a backbone, such as neumf=1024; captions say so. May be repeated.",
        ),
    ] = None,
    data_root: DataRoot = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes, one thread each.", show_default="one per core")
    ] = None,
    as_json: Json = False,
) -> None:
    """Reproduce MGQE (Kang et al. 2020): tables 3 to 6, figures 4, 6, 7 and 8, and smaller tables (compact).

    DIR then holds a file for each of them, README.md and report.html. Stop it at any time and call it again to go on.
    """
    from slimtable.reproduce import make_profile, reproduce_mgqe

    out = out if out is not None else _QUICK_OUT if quick else _OUT
    sizes = _batch_sizes(batch_size or [])
    asked = quick or sizes or seeds is not None or not render
    result = reproduce_mgqe(
        out,
        make_profile(quick, seeds, sizes) if asked else None,
        only=only or [],
        render=render,
        data_root=data_root,
        workers=workers,
        on_item=None if as_json else _tell,
    )
    if as_json:
        show_json(
            {
                "profile": result.profile.name,
                "report": str(result.report),
                "items": [{"item": each.item, "missing": each.missing} for each in result.items],
            }
        )
        return
    for each in result.items:
        for drawn in each.tables:
            show("")
            show(f"{each.title}. {drawn.title}")
            show(table(drawn.columns, drawn.rows))
    show(f"report: {result.report}")


def _tell(item: Rendered) -> None:
    state = "done" if not item.missing else f"{item.missing} runs are missing"
    show(f"{item.item}: {state}")


def _batch_sizes(texts: list[str]) -> dict[str, int]:
    """Reads ``BACKBONE=N`` pairs."""
    sizes = {}
    for text in texts:
        backbone, equals, number = text.partition("=")
        if not backbone or not equals or not number.isdecimal() or not int(number):
            raise ValueError(f"--batch-size takes BACKBONE=N, such as neumf=1024, got {text!r}.")
        sizes[backbone] = int(number)
    return sizes
