"""All tables and figures of a reproduction on one page: as HTML that needs nothing else, and as Markdown."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from html import escape
from urllib.parse import quote

from slimtable.bench.results import Record
from slimtable.reporting.page import draw_image, draw_table, html_page, running_text
from slimtable.reporting.tables import to_markdown as draw_markdown_table
from studies.study import Rendered


def item_markdown(item: Rendered, level: int = 1) -> str:
    """A table or figure as Markdown that names the picture as a file beside it, with a heading of some level."""
    parts = [f"{'#' * level} {item.title}", item.statement]
    if item.picture is not None:
        parts.append(f"![{item.title}]({quote(item.item)}.png)")
    for table in item.tables:
        parts += [f"{'#' * (level + 1)} {table.title}", draw_markdown_table(table)]
        if table.note:
            parts.append(table.note)
    return "\n\n".join([*parts, *item.notes]) + "\n"


def to_markdown(heading: str, items: Sequence[Rendered], command: str, records: Sequence[Record]) -> str:
    """The index: everything in order, below the command line that makes it and facts about the runs behind it."""
    parts = [f"# {heading}\n", f"```sh\n{command}\n```\n", "".join(f"- {line}\n" for line in _facts(records))]
    parts += [item_markdown(item, level=2) for item in items]
    return "\n".join(parts)


def to_html(heading: str, items: Sequence[Rendered], command: str, records: Sequence[Record]) -> str:
    """The same as an HTML page with everything in it: no script, no link, nothing to fetch."""
    facts = "".join(f'<p class="note">{running_text(line)}</p>' for line in _facts(records))
    body = "\n".join(map(_section, items))
    head = f"<h1>{escape(heading)}</h1>\n<pre>{escape(command)}</pre>"
    return html_page(heading, f"{head}\n{facts}\n{body}")


def command_line(paper: str, options: Sequence[str], seeds: int | None, out: str) -> str:
    """The command that makes a folder.

    Example:
        >>> command_line("mgqe", ["--quick", "--batch-size", "neumf=1024"], 2, "runs/mgqe")
        'python -m studies mgqe --quick --batch-size neumf=1024 --seeds 2 --out runs/mgqe'
    """
    words = ["python", "-m", "studies", paper, *options]
    return shlex.join([*words, *([] if seeds is None else ["--seeds", str(seeds)]), "--out", out])


def _section(item: Rendered) -> str:
    parts = [f"<h2>{escape(item.title)}</h2>", f"<p>{running_text(item.statement)}</p>"]
    if item.picture is not None:
        parts.append(draw_image(item.picture, item.title))
    parts += [f"<h3>{running_text(table.title)}</h3>\n{draw_table(table)}" for table in item.tables]
    parts += [f'<p class="note">{running_text(note)}</p>' for note in item.notes]
    return "<section>\n" + "\n".join(parts) + "\n</section>"


def _facts(records: Sequence[Record]) -> list[str]:
    """When and with what the runs were made."""
    if not records:
        return ["No run is finished yet."]
    days = sorted({record["date"][:10] for record in records})
    span = days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
    versions = dict.fromkeys(", ".join(f"{n} {v}" for n, v in record["versions"].items()) for record in records)
    processors = dict.fromkeys(record["cpu"] for record in records)
    return [f"{len(records)} runs, {span}", f"versions: {'; '.join(versions)}", f"CPU: {'; '.join(processors)}"]
