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
    from studies.study import Rendered, Study

app = typer.Typer(help="Reproduce the tables and figures of a paper.", no_args_is_help=True)

Only = Annotated[
    list[str] | None,
    typer.Option(help="A table or figure, by the name of its file; may be repeated.", show_default="all of them"),
]
Quick = Annotated[
    bool, typer.Option("--quick", help="Fewer epochs in larger steps: minutes instead of days, said in captions.")
]
Render = Annotated[bool, typer.Option("--render", help="Train nothing; draw what is there, gaps and all.")]
Out = Annotated[
    Path | None,
    typer.Option(
        help="Folder of results; finished runs in it are not repeated.",
        show_default="runs/PAPER, or runs/PAPER-quick with --quick",
    ),
]
Seeds = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Seeds of each row; of baco, of its leading rows, the others have one.",
        show_default="3, of baco on Gowalla 1; 1 or 2 with --quick",
    ),
]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes, one thread each.", show_default="one per core")]


def _setting(metavar: str, help_text: str) -> Any:
    """An option that changes a training setting, of some panels or of all."""
    return typer.Option(metavar=metavar, help=help_text)


def mgqe(
    only: Only = None,
    quick: Quick = False,
    render: Render = False,
    out: Out = None,
    seeds: Seeds = None,
    batch_size: Annotated[
        list[str] | None,
        _setting("BACKBONE=N", "Another batch size for a model, such as neumf=1024; captions say so. May be repeated."),
    ] = None,
    data_root: DataRoot = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Reproduce MGQE (Kang et al. 2020): tables 3 to 6, figures 4, 6, 7 and 8, and smaller tables (compact).

    DIR then holds a file for each of them, README.md and report.html. Stop it at any time and call it again to go on.
    """
    from studies import MGQE

    changes: dict[str, dict[str, Any]] = {}
    for text in batch_size or []:
        model_name, equals, number = text.partition("=")
        if not model_name or not equals or not number.isdecimal() or not int(number):
            raise ValueError(f"--batch-size takes BACKBONE=N, such as neumf=1024, got {text!r}.")
        changes[model_name] = {"batch_size": int(number)}
    _reproduce(MGQE, only, quick, render, out, seeds, changes, data_root, workers, as_json)


def baco(
    only: Only = None,
    quick: Quick = False,
    render: Render = False,
    out: Out = None,
    seeds: Seeds = None,
    batch_size: Annotated[
        list[str] | None,
        _setting("[DATA=]N", "Another batch size, such as 1024 or gowalla=8192; captions say so."),
    ] = None,
    learning_rate: Annotated[list[str] | None, _setting("[DATA=]X", "Another learning rate, likewise.")] = None,
    epochs: Annotated[list[str] | None, _setting("[DATA=]N", "Another largest number of epochs, likewise.")] = None,
    patience: Annotated[list[str] | None, _setting("[DATA=]N", "Other epochs without a better one, likewise.")] = None,
    evaluate_every: Annotated[
        list[str] | None, _setting("[DATA=]N", "Other epochs between validations, likewise.")
    ] = None,
    device: Annotated[list[str] | None, _setting("[DATA=]NAME", "Train elsewhere, such as gowalla=cuda.")] = None,
    data_root: DataRoot = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Reproduce BACO (Jiang et al. 2026): its comparison, figures and ablations, and rows against quantization.

    DIR then holds a file for each of them, README.md and report.html. Stop it at any time and call it again to go on.
    """
    from studies import BACO

    given = (batch_size, learning_rate, epochs, patience, evaluate_every, device)
    panels = [panel.name for panel in BACO.panels["full"]]
    changes: dict[str, dict[str, Any]] = {}
    for name, texts in zip(BACO.changeable, given, strict=True):
        for text in texts or []:
            panel, equals, value = text.rpartition("=")
            for changed in [panel] if equals else panels:
                changes.setdefault(changed, {})[name] = value if name == "device" else _number(name, value)
    _reproduce(BACO, only, quick, render, out, seeds, changes, data_root, workers, as_json)


def saec(
    only: Only = None,
    quick: Quick = False,
    render: Render = False,
    out: Out = None,
    seeds: Seeds = None,
    data_root: DataRoot = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Reproduce Saec (Wu et al. 2020): click logs in windows of time, trained, compressed, retrained and tested.

    DIR then holds a file for each table and figure, README.md and report.html. Stop it at any time and call it again to
    go on.
    """
    from studies import Saec

    _reproduce(Saec, only, quick, render, out, seeds, {}, data_root, workers, as_json)


def _reproduce(
    paper: type[Study[Any]],
    only: list[str] | None,
    quick: bool,
    render: bool,
    out: Path | None,
    seeds: int | None,
    changes: dict[str, dict[str, Any]],
    data_root: Path | None,
    workers: int | None,
    as_json: bool,
) -> None:
    from studies import reproduce

    asked = quick or changes or seeds is not None or not render
    result = reproduce(
        paper,
        out if out is not None else Path("runs") / (f"{paper.name}-quick" if quick else paper.name),
        paper.of(quick, seeds, changes) if asked else None,
        only=only or [],
        render=render,
        data_root=data_root,
        workers=workers,
        on_item=None if as_json else _tell,
    )
    _show(result, as_json)


def _show(result: Reproduction, as_json: bool) -> None:
    if as_json:
        items = [{"item": each.item, "missing": each.missing} for each in result.items]
        show_json({"profile": result.study.profile.name, "report": str(result.report), "items": items})
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


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        flag = f"--{name.replace('_', '-')}"
        raise ValueError(f"{flag} takes a number or DATA=number, such as gowalla=100, got {text!r}.")
    return value


for _command, _items in (
    (mgqe, "--only table4 --only figure7"),
    (baco, "--only beauty --only quartiles"),
    (saec, "--only movietweetings --only sizes"),
):
    _name = _command.__name__
    _call, _out = f"python -m studies {_name}", f"--out runs/{_name}"
    app.command(
        _name, epilog=examples(f"{_call} --quick", f"{_call} {_items} --seeds 3 {_out}", f"{_call} --render {_out}")
    )(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs ``python -m studies``; see :func:`slimtable.cli.run_app`."""
    return run_app(app, arguments, "python -m studies")
