"""The report as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from slimtable.bench.columns import command, facts, protocol, tables, title
from slimtable.bench.table import Section, headline
from slimtable.reporting.page import draw_image, draw_table, html_page, running_text


def to_html(sections: Sequence[Section], out: str, plots: Sequence[tuple[bytes, str]]) -> str:
    """Writes the report.

    Args:
        sections: the sections of the report.
        out: folder of the results, as shown in the command line.
        plots: PNG file and description of each plot.

    Returns:
        A self-contained HTML page without scripts or links.
    """
    images = "\n".join(draw_image(content, description) for content, description in plots)
    body = "\n".join(_section(section, out, images if place == 0 else "") for place, section in enumerate(sections))
    names = ", ".join(title(section) for section in sections)
    return html_page(f"{names}: quality against size", body)


def _section(section: Section, out: str, images: str) -> str:
    main, *others = tables(section)
    settings = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts(section))
    parts = [
        f"<h1>{escape(title(section))}</h1>",
        f'<p class="headline">{running_text(headline(section))}</p>',
        draw_table(main),
        *(f'<p class="note">{running_text(line)}</p>' for line in protocol(section)),
        images,
        *(f"<h2>{escape(table.title)}</h2>\n{draw_table(table)}" for table in others),
        f"<h2>Settings</h2>\n<dl>{settings}</dl>",
        f"<h2>Make it again</h2>\n<pre>{escape(command(section, out))}</pre>",
    ]
    return "<section>\n" + "\n".join(parts) + "\n</section>"
