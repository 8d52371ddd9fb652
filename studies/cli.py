"""``python -m studies PAPER``: the tables and figures of a paper, with its values beside ours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slimtable.cli import examples, run_app
from slimtable.cli.options import DataRoot, Json
from slimtable.cli.output import show, show_json, table

if TYPE_CHECKING:
    from studies.study import Rendered, Study

app = typer.Typer(add_completion=False)


class Paper(StrEnum):
    """The papers."""

    MGQE = "mgqe"
    BACO = "baco"
    SAEC = "saec"
    CODECS = "codecs"


_Changes = list[str] | None


@app.command(
    no_args_is_help=True,
    epilog=examples(
        "python -m studies mgqe --quick",
        "python -m studies mgqe --only table4 --only figure7 --seeds 3 --batch-size neumf=1024 --out runs/mgqe",
        "python -m studies baco --quick",
        "python -m studies baco --only beauty --only quartiles --device gowalla=cuda --out runs/baco",
        "python -m studies saec --quick",
        "python -m studies codecs --quick",
        "python -m studies codecs --only ials-gowalla --only ials-ml-1m --workers 1 --out runs/codecs",
        "python -m studies saec --render --only movietweetings --only sizes --out runs/saec",
    ),
)
def reproduce(
    paper: Annotated[
        Paper,
        typer.Argument(
            help="mgqe (Kang et al. 2020): tables 3 to 6, figures 4, 6, 7 and 8, and smaller tables (compact). baco "
            "(Jiang et al. 2026): its comparison, figures and ablations, and rows against quantization. saec (Wu et "
            "al. 2020): click logs in windows of time, trained, compressed, retrained and tested. codecs: no "
            "paper; every codec at twelve rates on tables of iALS, SASRec and LightGCN, beside faiss at equal bytes."
        ),
    ],
    only: Annotated[
        list[str] | None,
        typer.Option(help="A table or figure, such as table4 or beauty; may be repeated.", show_default="all of them"),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer epochs or rows: minutes instead of days, said in captions.")
    ] = False,
    render: Annotated[bool, typer.Option("--render", help="Train nothing; draw what is there, gaps and all.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of results; finished runs in it are not repeated.",
            show_default="runs/PAPER, or runs/PAPER-quick with --quick",
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Seeds of each row; of baco, of the leading rows, the others have one.",
            show_default="3, baco on Gowalla 1; 1 or 2 with --quick",
        ),
    ] = None,
    batch_size: Annotated[
        _Changes,
        typer.Option(
            metavar="[WHICH=]N",
            help="Another batch size of a model of mgqe, such as neumf=1024, or on data of baco, such as gowalla=8192; "
            "captions say so. May be repeated.",
        ),
    ] = None,
    learning_rate: Annotated[
        _Changes, typer.Option(metavar="[DATA=]X", help="Another learning rate of baco, likewise.")
    ] = None,
    epochs: Annotated[_Changes, typer.Option(metavar="[DATA=]N", help="Another number of epochs of baco.")] = None,
    patience: Annotated[
        _Changes, typer.Option(metavar="[DATA=]N", help="Other epochs of baco without a better one.")
    ] = None,
    evaluate_every: Annotated[
        _Changes, typer.Option(metavar="[DATA=]N", help="Other epochs of baco between validations.")
    ] = None,
    device: Annotated[
        _Changes, typer.Option(metavar="[DATA=]NAME", help="Train baco elsewhere, such as gowalla=cuda.")
    ] = None,
    data_root: DataRoot = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes, one thread each.", show_default="one per core")
    ] = None,
    as_json: Json = False,
) -> None:
    """Reproduce the tables and figures of a paper, with its values beside ours.

    DIR then holds a file for each of them, README.md and report.html. Stop it at any time and call it again to go on.
    """
    from studies import BACO, MGQE, Codecs, Saec
    from studies import reproduce as reproduce_study

    papers: dict[Paper, type[Study[Any]]] = {
        Paper.MGQE: MGQE,
        Paper.BACO: BACO,
        Paper.SAEC: Saec,
        Paper.CODECS: Codecs,
    }
    study = papers[paper]
    given = {
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "epochs": epochs,
        "patience": patience,
        "evaluate_every": evaluate_every,
        "device": device,
    }
    changes = _changes({name: texts for name, texts in given.items() if texts}, paper, study.changeable, study.words())
    asked = quick or changes or seeds is not None or not render
    result = reproduce_study(
        study,
        out if out is not None else Path("runs") / (f"{paper}-quick" if quick else paper),
        study.of(quick, seeds, changes) if asked else None,
        only=only or [],
        render=render,
        data_root=data_root,
        workers=workers,
        on_item=None if as_json else _tell,
    )
    if as_json:
        items = [{"item": each.item, "missing": each.missing} for each in result.items]
        show_json({"profile": result.study.scale, "report": str(result.report), "items": items})
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


def _changes(
    given: dict[str, list[str]], paper: str, changeable: Sequence[str], panels: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Reads ``[WHICH=]VALUE`` texts of training settings: what each panel is given; all where none is named."""
    changes: dict[str, dict[str, Any]] = {}
    for name, texts in given.items():
        flag = f"--{name.replace('_', '-')}"
        if name not in changeable:
            raise ValueError(f"{paper} takes no {flag}; the settings of its paper are fixed.")
        for text in texts:
            which, equals, value = text.rpartition("=")
            for panel in [which] if equals else panels:
                changes.setdefault(panel, {})[name] = value if name == "device" else _number(flag, value, panels[0])
    return changes


def _number(flag: str, text: str, panel: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{flag} takes a number or WHICH=number, such as {panel}=100, got {text!r}.")
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs ``python -m studies``; see :func:`slimtable.cli.run_app`."""
    return run_app(app, arguments, "python -m studies")
