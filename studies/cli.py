"""``python -m studies PAPER``: the tables and figures of a paper, with its values beside ours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slimtable.cli import examples, run_app
from slimtable.cli.options import DataRoot, Json
from slimtable.cli.output import show, show_json, table

if TYPE_CHECKING:
    from studies.run import Reproduction
    from studies.study import Rendered

app = typer.Typer(help="Reproduce the tables and figures of a paper.", no_args_is_help=True)

Quick = Annotated[
    bool, typer.Option("--quick", help="Fewer epochs in larger steps: minutes instead of days, said in captions.")
]
Render = Annotated[bool, typer.Option("--render", help="Train nothing; draw what is there, gaps and all.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes, one thread each.", show_default="one per core")]


def mgqe(
    only: Annotated[
        list[str] | None,
        typer.Option(help="A table or figure, such as table4; may be repeated.", show_default="all of them"),
    ] = None,
    quick: Quick = False,
    render: Render = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of results; finished runs in it are not repeated.",
            show_default="runs/mgqe, or runs/mgqe-quick with --quick",
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
            help="Another batch size for a model, such as neumf=1024; captions say so. May be repeated.",
        ),
    ] = None,
    data_root: DataRoot = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Reproduce MGQE (Kang et al. 2020): tables 3 to 6, figures 4, 6, 7 and 8, and smaller tables (compact).

    DIR then holds a file for each of them, README.md and report.html. Stop it at any time and call it again to go on.
    """
    from studies import make_profile, reproduce_mgqe

    out = out if out is not None else _usual_out("mgqe", quick)
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
    _show(result, as_json)


def baco(
    only: Annotated[
        list[str] | None,
        typer.Option(help="A table or figure, such as beauty; may be repeated.", show_default="all of them"),
    ] = None,
    quick: Quick = False,
    render: Render = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of results; finished runs in it are not repeated.",
            show_default="runs/baco, or runs/baco-quick with --quick",
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1, help="Seeds of the leading rows; the others have one.", show_default="3, Gowalla 1; 1 with --quick"
        ),
    ] = None,
    batch_size: Annotated[
        list[str] | None,
        typer.Option(metavar="[DATA=]N", help="Another batch size, such as 1024 or gowalla=8192; captions say so."),
    ] = None,
    learning_rate: Annotated[
        list[str] | None, typer.Option(metavar="[DATA=]X", help="Another learning rate, likewise.")
    ] = None,
    epochs: Annotated[
        list[str] | None, typer.Option(metavar="[DATA=]N", help="Another largest number of epochs, likewise.")
    ] = None,
    patience: Annotated[
        list[str] | None, typer.Option(metavar="[DATA=]N", help="Other epochs without a better one, likewise.")
    ] = None,
    evaluate_every: Annotated[
        list[str] | None, typer.Option(metavar="[DATA=]N", help="Other epochs between validations, likewise.")
    ] = None,
    device: Annotated[
        list[str] | None, typer.Option(metavar="[DATA=]NAME", help="Train elsewhere, such as gowalla=cuda.")
    ] = None,
    data_root: DataRoot = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Reproduce BACO (Jiang et al. 2026): its comparison, figures and ablations, and rows against quantization.

    DIR then holds a file for each of them, README.md and report.html. Stop it at any time and call it again to go on.
    """
    from studies import reproduce_baco
    from studies.baco.experiments import PANELS, make_profile

    out = out if out is not None else _usual_out("baco", quick)
    given = {
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "epochs": epochs,
        "patience": patience,
        "evaluate_every": evaluate_every,
        "device": device,
    }
    changes = _changes({name: texts for name, texts in given.items() if texts}, [panel.name for panel in PANELS])
    asked = quick or changes or seeds is not None or not render
    result = reproduce_baco(
        out,
        make_profile(quick, seeds, changes) if asked else None,
        only=only or [],
        render=render,
        data_root=data_root,
        workers=workers,
        on_item=None if as_json else _tell,
    )
    _show(result, as_json)


def saec(
    only: Annotated[
        list[str] | None,
        typer.Option(help="A table or figure, such as movietweetings; may be repeated.", show_default="all of them"),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="One seed and few rows: minutes instead of hours.")] = False,
    render: Render = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of results; what is finished in it is not repeated.",
            show_default="runs/saec, or runs/saec-quick with --quick",
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Seeds of each row.", show_default="3; 1 with --quick")
    ] = None,
    data_root: DataRoot = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Reproduce Saec (Wu et al. 2020): click logs in windows of time, trained, compressed, retrained and tested.

    DIR then holds a file for each table and figure, README.md and report.html. Stop it at any time and call it again to
    go on.
    """
    from studies import reproduce_saec
    from studies.saec.experiments import make_profile

    asked = quick or seeds is not None or not render
    result = reproduce_saec(
        out if out is not None else _usual_out("saec", quick),
        make_profile(quick, seeds) if asked else None,
        only=only or [],
        render=render,
        data_root=data_root,
        workers=workers,
        on_item=None if as_json else _tell,
    )
    _show(result, as_json)


def _usual_out(paper: str, quick: bool) -> Path:
    return Path("runs") / (f"{paper}-quick" if quick else paper)


def _show(result: Reproduction, as_json: bool) -> None:
    if as_json:
        show_json(
            {
                "profile": result.study.scale,
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
        model_name, equals, number = text.partition("=")
        if not model_name or not equals or not number.isdecimal() or not int(number):
            raise ValueError(f"--batch-size takes BACKBONE=N, such as neumf=1024, got {text!r}.")
        sizes[model_name] = int(number)
    return sizes


def _changes(given: dict[str, list[str]], panels: list[str]) -> dict[str, dict[str, Any]]:
    """Reads ``[DATA=]VALUE`` texts of training settings: what each panel is given; all panels where none is named."""
    changes: dict[str, dict[str, Any]] = {}
    for name, texts in given.items():
        for text in texts:
            panel, equals, value = text.rpartition("=")
            changed = [panel] if equals else panels
            for each in changed:
                changes.setdefault(each, {})[name] = value if name == "device" else _number(name, value)
    return changes


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not math.isfinite(value):
        flag = f"--{name.replace('_', '-')}"
        raise ValueError(f"{flag} takes a number or DATA=number, such as gowalla=100, got {text!r}.")
    return value


app.command(
    "mgqe",
    epilog=examples(
        "python -m studies mgqe --quick",
        "python -m studies mgqe --only table4 --only figure7 --seeds 3 --out runs/mgqe",
        "python -m studies mgqe --render --out runs/mgqe",
    ),
)(mgqe)
app.command(
    "baco",
    epilog=examples(
        "python -m studies baco --quick",
        "python -m studies baco --only beauty --only quartiles --seeds 3 --out runs/baco",
        "python -m studies baco --render --out runs/baco",
    ),
)(baco)
app.command(
    "saec",
    epilog=examples(
        "python -m studies saec --quick",
        "python -m studies saec --only movietweetings --only sizes --seeds 3 --out runs/saec",
        "python -m studies saec --render --out runs/saec",
    ),
)(saec)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs ``python -m studies``; see :func:`slimtable.cli.run_app`."""
    return run_app(app, arguments, "python -m studies")
