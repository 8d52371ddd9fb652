"""The report as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from slimtable.bench.columns import Table, command, facts, protocol, tables, title
from slimtable.bench.table import Section, headline


def to_markdown(sections: Sequence[Section], out: str, plots: Sequence[tuple[str, str]]) -> str:
    """Writes the report.

    Args:
        sections: what to report.
        out: folder of the results, as the command line shall name it.
        plots: file name and description of each plot beside the report.

    Returns:
        Markdown text.
    """
    parts = ["# Quality against size", *(_section(section, out) for section in sections)]
    parts += [f"![{description}]({name})" for name, description in plots]
    return "\n\n".join(parts) + "\n"


def _section(section: Section, out: str) -> str:
    parts = [f"## {title(section)}", headline(section), f"```sh\n{command(section, out)}\n```"]
    parts.append("\n".join(f"- {name}: {value}" for name, value in facts(section)))
    parts.append("\n".join(protocol(section)))
    for table in tables(section):
        parts += [f"### {table.title}", draw_table(table)]
        if table.note:
            parts.append(table.note)
    return "\n\n".join(parts)


def draw_table(table: Table) -> str:
    """A table without its title and note."""
    rule = ["---"] + ["---:"] * (len(table.columns) - 1)
    labelled = [(f"`{first}`", *others) for first, *others in table.rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in (table.columns, rule, *labelled))
