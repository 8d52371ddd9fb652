"""The report of a pipeline: one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from slimtable.errors import SlimtableError
from slimtable.files import replace_file
from slimtable.pipeline import plots
from slimtable.pipeline.history import Record, explain, read_history
from slimtable.reporting.page import draw_image, draw_table, html_page, running_text
from slimtable.reporting.tables import Table

REPORT = "report.html"


def write_report(state: str | Path, out: str | Path | None = None) -> Path:
    """Writes the report of a pipeline.

    Args:
        state: its state folder.
        out: path of the file; None for ``report.html`` in that folder.

    Returns:
        The file.

    Raises:
        SlimtableError: no window is finished yet.
    """
    history = read_history(state)
    if not history:
        raise SlimtableError(
            f"{state} has no finished window yet. A window is finished once the next one is available."
        )
    path = Path(state) / REPORT if out is None else Path(out)
    with replace_file(path) as file:
        file.write(_page(history).encode())
    return path


def history_table(history: Sequence[Record]) -> Table:
    """One row per window: rows and new values, quality, size, changes, and the verdict."""
    rows = tuple(
        (
            str(record["window"]),
            {"publish": "published", "refuse": "refused", "hold": "held"}[record["verdict"]["decision"]],
            f"{record['rows']:,}",
            f"{sum(record['new_values'].values()):,}",
            _number(record, "uncompressed", "auc"),
            _number(record, "compressed", "auc"),
            _number(record, "retrained", "auc"),
            _number(record, "served", "auc"),
            _number(record, "uncompressed", "log_loss"),
            _number(record, "retrained", "log_loss"),
            f"{record['vectors']:,}",
            f"{record['bytes']:,}",
            f"{100 * record['bytes'] / record['dense_bytes']:.2f}%",
            "–" if record["moved"] is None else f"{record['moved']:,}",
            "–" if record["delta_bytes"] is None else f"{record['delta_bytes']:,}",
            f"{sum(record['seconds'].values()):.1f}",
        )
        for record in history
    )
    columns = (
        "window",
        "verdict",
        "rows",
        "new values",
        "AUC uncompressed",
        "AUC compressed",
        "AUC retrained",
        "AUC served",
        "log loss uncompressed",
        "log loss retrained",
        "vectors",
        "bytes",
        "size",
        "moved",
        "delta bytes",
        "seconds",
    )
    note = (
        "AUC and log loss are measured on the next window, before training on it. Bytes are those of all tables as "
        "served, maps included. Moved: values whose row changed since the version before."
    )
    return Table("Windows", columns, rows, note)


def headline(history: Sequence[Record]) -> str:
    """A summary of the pipeline in one or two sentences."""
    published = [record for record in history if record["verdict"]["decision"] == "publish"]
    refused = [str(record["window"]) for record in history if record["verdict"]["decision"] == "refuse"]
    last = history[-1]
    text = f"{len(history)} windows, {len(published)} versions published"
    words = "window" if len(refused) == 1 else "windows"
    text += f", {words} {', '.join(refused)} refused. " if refused else ", none refused. "
    text += (
        f"{last['dense_vectors']:,} vectors became {last['vectors']:,}; the tables take "
        f"{100 * last['bytes'] / last['dense_bytes']:.2f} % of their float32 bytes"
    )
    pairs = [(record["metrics"]["retrained"]["auc"], record["metrics"]["uncompressed"]["auc"]) for record in published]
    differences = [mine - theirs for mine, theirs in pairs if mine is not None and theirs is not None]
    if differences:
        mean = sum(differences) / len(differences)
        difference = f"{mean:+.4f}".replace("-", "\N{MINUS SIGN}")
        text += f", and the AUC of published versions differs by {difference} on average from the uncompressed model's"
    return text + "."


def _page(history: Sequence[Record]) -> str:
    pictures = (
        (
            plots.quality_over_windows(history),
            "AUC and log loss of the uncompressed and the compressed model per window",
        ),
        (plots.sizes_over_windows(history), "vectors and bytes of the tables per window"),
        (plots.seconds_over_windows(history), "seconds of each stage per window"),
    )
    images = "\n".join(draw_image(content, description) for content, description in pictures)
    tables = [history_table(history), _stage_table(history)]
    drawn = "\n".join(f"<h2>{escape(table.title)}</h2>\n{draw_table(table)}" for table in tables)
    head = f'<h1>Periodic compression</h1>\n<p class="headline">{running_text(headline(history))}</p>'
    return html_page(f"Pipeline: {len(history)} windows", f"{head}\n{images}\n{_verdicts(history)}\n{drawn}")


def _verdicts(history: Sequence[Record]) -> str:
    entries = [
        f"<dt>window {record['window']}</dt><dd>{escape(explain(record))}</dd>"
        for record in history
        if record["verdict"]["reasons"]
    ]
    if not entries:
        return ""
    return f"<h2>Windows that were not published</h2>\n<dl>{''.join(entries)}</dl>"


def _stage_table(history: Sequence[Record]) -> Table:
    rows = []
    for stage in plots.STAGES:
        seconds = [record["seconds"][stage] for record in history if stage in record["seconds"]]
        if seconds:
            rows.append((stage, f"{sum(seconds) / len(seconds):.2f}", f"{max(seconds):.2f}", f"{sum(seconds):.1f}"))
    return Table("Seconds of each stage", ("stage", "mean", "longest", "all windows"), tuple(rows))


def _number(record: Record, model: str, metric: str) -> str:
    value: Any = (record["metrics"].get(model) or {}).get(metric)
    return "–" if value is None else f"{value:.4f}"
