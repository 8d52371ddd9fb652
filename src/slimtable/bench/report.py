"""Tables, plots and report of a bench folder, made from its results file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text

from slimtable.bench.columns import tables, title, to_csv
from slimtable.bench.markdown import to_markdown
from slimtable.bench.page import to_html
from slimtable.bench.plots import learning_curves, quality_vs_size
from slimtable.bench.published import Published
from slimtable.bench.results import RESULTS, Record, read_results
from slimtable.bench.table import Row, Section, tabulate
from slimtable.files import replace_file

_MARKDOWN, _CSV, _PLOT, _CURVES, _REPORT = (
    "table.md",
    "table.csv",
    "quality_vs_size.png",
    "learning_curves.png",
    "report.html",
)


@dataclass(frozen=True)
class BenchResult:
    """The contents of a bench folder.

    Attributes:
        records: finished runs, in the order in which they finished.
        sections: their rows, one section for each setting.
        results: results.jsonl, one finished run per line.
        markdown: the tables as Markdown.
        csv: all rows with all digits.
        plot: quality against size.
        curves: validation quality over epochs; None if no run was validated.
        report: the tables and plots as one HTML file.
    """

    records: list[Record]
    sections: list[Section]
    results: Path
    markdown: Path
    csv: Path
    plot: Path
    curves: Path | None
    report: Path

    @property
    def table(self) -> list[Row]:
        """All rows, section by section."""
        return [row for section in self.sections for row in section.rows]


def render(out: str | Path, published: Published | None = None) -> BenchResult:
    """Writes the tables, plots and report of a folder from its results.jsonl.

    Args:
        out: the folder of a bench.
        published: results of a paper, shown next to runs with its settings; None to show none.

    Returns:
        The contents of the folder.

    Raises:
        SlimtableError: there is no finished run, or results.jsonl is damaged.
    """
    out = Path(out)
    records = read_results(out)
    sections = tabulate(records, published)
    named = out.name if out.is_absolute() else out.as_posix()  # a report must not reveal the path of a home folder
    plots = [(_PLOT, "Quality against size", quality_vs_size(sections))]
    curves = learning_curves(sections)
    if curves is None:
        (out / _CURVES).unlink(missing_ok=True)
    else:
        plots.append((_CURVES, "Validation quality over epochs", curves))
    texts = {
        _MARKDOWN: to_markdown(sections, named, [(name, description) for name, description, _ in plots]),
        _CSV: to_csv(sections),
        _REPORT: to_html(sections, named, [(content, description) for _, description, content in plots]),
    }
    for name, content in [*((name, text.encode()) for name, text in texts.items()), *((n, c) for n, _, c in plots)]:
        with replace_file(out / name) as file:
            file.write(content)
    return BenchResult(
        records=records,
        sections=sections,
        results=out / RESULTS,
        markdown=out / _MARKDOWN,
        csv=out / _CSV,
        plot=out / _PLOT,
        curves=None if curves is None else out / _CURVES,
        report=out / _REPORT,
    )


def console_table(result: BenchResult) -> Group:
    """Quality against size as rich tables, one for each section.

    Args:
        result: the result of :func:`render` or of a bench.

    Returns:
        A renderable for a rich console.
    """
    drawn = []
    for section in result.sections:
        main = tables(section)[0]
        table = RichTable(
            title=Text(title(section)), title_justify="left", box=None, pad_edge=False, header_style="bold"
        )
        for place, column in enumerate(main.columns):
            table.add_column(Text(column), justify="right" if place else "left", overflow="fold")
        for row in main.rows:
            table.add_row(*map(Text, row))  # brackets of a label are not markup
        drawn.append(table)
    return Group(*drawn)
