"""``slimtable pipeline``: run the periodic loop; show its status, history and report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from slimtable.cli.options import Json
from slimtable.cli.output import show, show_json, size, table

Record = dict[str, Any]
StatePath = Annotated[
    Path, typer.Argument(metavar="STATE", help="The state folder, or the settings file of the pipeline.")
]

app = typer.Typer(
    no_args_is_help=True,
    help="Train, compress, retrain, check and publish a CTR model window by window.",
)


def run(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="Settings as YAML; see examples/pipeline.yaml.")],
    follow: Annotated[bool, typer.Option("--follow", help="Wait for new windows; Ctrl-C stops.")] = False,
    windows: Annotated[
        int | None, typer.Option(min=1, help="Stop when this many windows are finished in total.", show_default="all")
    ] = None,
    poll: Annotated[float, typer.Option(min=0.05, help="Seconds between two checks for new windows.")] = 2.0,
    as_json: Json = False,
) -> None:
    """Process the available windows, resuming after the last finished stage.

    A window is finished once it is tested on the next one. If the process is killed, run the same command again: it
    ends with the same files.
    """
    from slimtable.pipeline import read_settings, run_pipeline
    from slimtable.progress import progress_bar

    settings = read_settings(config)
    records: list[Record] = []
    repaired: list[str] = []
    with progress_bar() as bar:
        task = bar.add_task("begins", total=None)

        def on_stage(window: int, stage: str) -> None:
            nonlocal task
            bar.remove_task(task)
            task = bar.add_task(f"window {window}: {stage}", total=None)

        def on_batch(step: int, steps: int) -> None:
            bar.update(task, completed=step, total=steps)

        def on_window(record: Record) -> None:
            if not as_json:
                bar.stop()  # clear it before printing the line
                show(describe(record))
                bar.start()

        records = run_pipeline(
            settings,
            follow=follow,
            windows=windows,
            poll_seconds=poll,
            on_stage=on_stage,
            on_batch=None if bar.disable else on_batch,
            on_window=on_window,
            on_repair=repaired.append,
        )
    for line in repaired:
        typer.echo(f"repaired: {line}.", err=True)
    if as_json:
        show_json(records)
    elif not records:
        show("nothing to do: a window needs the next one to be tested on.")


def status(state: StatePath, as_json: Json = False) -> None:
    """Show the status of a pipeline."""
    from slimtable.pipeline import pipeline_status
    from slimtable.pipeline.status import state_of

    found = pipeline_status(state_of(state))
    if as_json:
        show_json(found)
        return
    show(f"{found['state']}: {'running' if found['running'] else 'not running'}, {size(found['disk'])} on disk")
    done = f", done: {', '.join(found['stages'])}" if found["stages"] else ""
    show(f"finished windows: {found['finished']}; next: {found['window']}{done}")
    if found["problem"]:
        show(f"problem: {found['problem']}. `slimtable pipeline repair` serves the newest undamaged version.")
    served = (
        "nothing yet"
        if found["served"] is None
        else f"{found['served']} ({size(found['bytes']) if found['bytes'] else 'damaged or gone'})"
    )
    show(f"served: {served}; kept: {', '.join(found['published']) or 'none'}")
    if found["refused"]:
        show(f"refused windows: {', '.join(map(str, found['refused']))}")
    if found["last"] is not None:
        show(f"last: {describe(found['last'])}")


def repair(state: StatePath, as_json: Json = False) -> None:
    """Repair a state folder whose journal, history or versions were lost or damaged, and report losses.

    The newest undamaged version is served. Damaged files are kept under names that end in .damaged.
    """
    from slimtable.pipeline.repair import repair as repair_state
    from slimtable.pipeline.status import state_of

    notes = repair_state(state_of(state))
    if as_json:
        show_json(notes)
        return
    for note in notes:
        show(note)
    show("continue with `slimtable pipeline run`." if notes else "nothing to repair.")


def history(state: StatePath, as_json: Json = False) -> None:
    """List the finished windows: rows, new values, quality, size and verdict."""
    from slimtable.pipeline import read_history
    from slimtable.pipeline.history import explain
    from slimtable.pipeline.report import history_table
    from slimtable.pipeline.status import state_of

    records = read_history(state_of(state))
    if as_json:
        show_json(records)
        return
    if not records:
        show("no window is finished yet.")
        return
    drawn = history_table(records)
    show(table(drawn.columns, drawn.rows, ("verdict",)))
    show(drawn.note)
    for record in records:
        if record["verdict"]["reasons"]:
            show(f"window {record['window']} {explain(record)}")


def report(
    state: StatePath,
    out: Annotated[
        Path | None, typer.Option(help="The page, one HTML file.", show_default="report.html in the state folder")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a page with quality, size and time of every window."""
    from slimtable.pipeline.report import write_report
    from slimtable.pipeline.status import state_of

    path = write_report(state_of(state), out)
    if as_json:
        show_json({"report": str(path)})
    else:
        show(f"report: {path}")


def describe(record: Record) -> str:
    """A finished window in one line."""
    from slimtable.pipeline.history import explain

    metrics = record["metrics"]
    quality = ", ".join(
        f"{name} {_number(metrics['retrained'][key])} (uncompressed {_number(metrics['uncompressed'][key])})"
        for key, name in (("auc", "AUC"), ("log_loss", "log loss"))
    )
    share = 100 * record["bytes"] / record["dense_bytes"]
    return (
        f"window {record['window']}: {record['rows']:,} rows, {sum(record['new_values'].values()):,} new values; "
        f"{quality}; {record['vectors']:,} vectors, {size(record['bytes'])} ({share:.2f}%); "
        f"{sum(record['seconds'].values()):.1f} s; {explain(record)}"
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
