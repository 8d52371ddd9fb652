"""The report as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from slimtable.bench.columns import command, facts, protocol, tables, title
from slimtable.bench.table import Section, headline
from slimtable.reporting.tables import to_markdown as draw_table


def to_markdown(sections: Sequence[Section], out: str, plots: Sequence[tuple[str, str]]) -> str:
    """Writes the report.

    Args:
        sections: the sections of the report.
        out: folder of the results, as shown in the command line.
        plots: file name and description of each plot in the same folder.

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
