"""Tables as text, and their Markdown."""

from __future__ import annotations

from dataclasses import dataclass

ABSENT = "–"
"""The text of a cell without a value."""


@dataclass(frozen=True)
class Table:
    """A table as text.

    Attributes:
        title: its title.
        columns: headings; the first column is text, the others are numbers.
        rows: cells.
        note: text below the table, or empty.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def to_markdown(table: Table) -> str:
    """A table in Markdown, without its title and note."""
    rule = ["---"] + ["---:"] * (len(table.columns) - 1)
    labelled = [(f"`{first}`", *others) for first, *others in table.rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in (table.columns, rule, *labelled))
