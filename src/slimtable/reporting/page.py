"""Self-contained HTML pages without scripts or external files."""

from __future__ import annotations

import base64
from html import escape

from slimtable.reporting.tables import Table

STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #60666c; --line: #dfe2e5; --page: #ffffff; --card: #f5f6f8;
  --mark: #0072b2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e7e9eb; --soft: #9ea5ab; --line: #363b41; --page: #16181b; --card: #202429; --mark: #56b4e9; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem clamp(.8rem, 4vw, 2.5rem) 4rem; max-width: 84rem; background: var(--page);
  color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.2rem; margin: 0; color: var(--soft); font-weight: 600; }
h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
.headline { font-size: clamp(1.15rem, 3.2vw, 1.55rem); line-height: 1.35; margin: .2rem 0 1.4rem; max-width: 48rem;
  font-weight: 600; text-wrap: balance; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .55rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
tr:last-child > td, tr:last-child > th { border-bottom: 0; }
thead th { color: var(--soft); font-weight: 600; background: var(--card); vertical-align: bottom; white-space: normal;
  min-width: 4.2rem; }
th:first-child { text-align: left; position: sticky; left: 0; background: var(--card); }
tbody th { font: .84rem/1.4 ui-monospace, SFMono-Regular, Menlo, "DejaVu Sans Mono", monospace; white-space: normal;
  min-width: 7rem; max-width: 17rem; overflow-wrap: break-word; }
.note, dl { color: var(--soft); font-size: .86rem; max-width: 62rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }
dt { font-weight: 600; } dd { margin: 0; overflow-wrap: anywhere; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .8rem; overflow-x: auto;
  font-size: .84rem; }
img { display: block; width: 100%; max-width: 60rem; height: auto; border-radius: 8px; background: #fff; margin: 1rem 0;
  border: 1px solid var(--line); }
"""


def html_page(title: str, body: str) -> str:
    """A complete HTML page.

    Args:
        title: plain text.
        body: HTML.
    """
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def draw_table(table: Table) -> str:
    """The HTML of a table and its note, without its title."""
    head = "".join(f'<th scope="col">{running_text(column)}</th>' for column in table.columns)
    body = "\n".join(
        f'<tr><th scope="row">{_breakable(first)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in others)
        + "</tr>"
        for first, *others in table.rows
    )
    drawn = f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'
    return drawn + (f'\n<p class="note">{running_text(table.note)}</p>' if table.note else "")


def draw_image(content: bytes, description: str) -> str:
    """A PNG file embedded in the page."""
    data = base64.b64encode(content).decode()
    return f'<img alt="{escape(description)}" src="data:image/png;base64,{data}">'


def running_text(text: str) -> str:
    """The HTML of a paragraph; keeps numbers and percent signs together."""
    return escape(text).replace(" %", "&nbsp;%")


def _breakable(label: str) -> str:
    """A label with line breaks allowed between its options and words."""
    text = escape(label).replace("[", "<wbr>[")
    for end in ";=_":
        text = text.replace(end, f"{end}<wbr>")
    return text
