"""Makes the tables and figures of a paper: trains what is missing, and draws what is there."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slimtable.bench.grids import GridsResult, run_grids
from slimtable.bench.results import RESULTS, Record, read_results
from slimtable.errors import SlimtableError
from slimtable.files import replace_file, write_json
from studies.page import command_line, item_markdown, to_html, to_markdown
from studies.study import Place, Rendered, Study, to_csv

_SCALE, _TRAINING = "profile", "train"
_SEEDS = "seeds"  # how many were asked for; more or fewer are no other settings
SETTINGS, REPORT, INDEX = "reproduction.json", "report.html", "README.md"


@dataclass(frozen=True)
class Reproduction:
    """What a folder holds.

    Attributes:
        out: the folder.
        study: the paper, and how much of it was done.
        items: its tables and figures.
        report: the page with all of them.
    """

    out: Path
    study: Study[Any]
    items: list[Rendered]
    report: Path


def reproduce(
    paper: type[Study[Any]],
    out: str | Path,
    study: Study[Any] | None = None,
    *,
    only: Sequence[str] = (),
    render: bool = False,
    data_root: str | Path | None = None,
    workers: int | None = None,
    progress: bool = True,
    on_item: Callable[[Rendered], None] | None = None,
) -> Reproduction:
    """Reproduces tables and figures of a paper.

    Finished runs are never repeated and those that were cut off continue, so it may be stopped and called again. With
    several workers, a script that calls this must guard the call by ``if __name__ == "__main__":``.

    Args:
        paper: which one: :class:`studies.MGQE`, :class:`studies.BACO` or :class:`studies.Saec`.
        out: folder of the results.
        study: how much to do; None for what the folder was started with, else all of it.
        only: names of its items; empty for all.
        render: train nothing, and draw from the runs that are there.
        data_root: folder of datasets; None for the usual one.
        workers: processes, one thread each; 1 for this process alone, None for one per core.
        progress: show a progress bar on a terminal.
        on_item: called with each table and figure as soon as its runs are finished and it is written.

    Returns:
        The folder's tables and figures.

    Raises:
        ValueError: there is no such table or figure, or ``workers`` is not positive.
        SlimtableError: the folder was started with other settings, or runs failed; the others are finished and shown.
        DatasetError: the data cannot be had.
    """
    for name in only:
        if name not in paper.items:
            raise ValueError(f"There is no {name!r} to reproduce. Choose from {', '.join(paper.items)}.")
    if workers is not None and workers < 1:
        raise ValueError(f"`workers` must be at least 1, got {workers}.")
    out = Path(out)
    study = _agreed(out, paper, study)
    chosen = [item for item in study.items if not only or item in only]
    place = Place(study, out, data_root=None if data_root is None else Path(data_root))
    printer = _Printer(study, place, on_item)
    done: GridsResult | None = None
    unmeasured: list[str] = []
    if render:
        trains = any(study.items[item].wants for item in chosen)
        started = (out / RESULTS).is_file() and (out / RESULTS).stat().st_size
        records = read_results(out) if started or trains else []
    else:
        out.mkdir(parents=True, exist_ok=True)
        _write_settings(out, study, chosen)
        done = run_grids(
            study.grids(chosen, place),
            out,
            workers=workers,
            progress=progress,
            on_change=lambda finished: printer.write_complete(chosen, finished),
        )
        records = done.records
        unmeasured = study.measure(chosen, place, workers=workers, progress=progress)
    printer.write(chosen, records)
    printer.write_pages(records)
    if done is not None:
        done.raise_failures()
    if unmeasured:
        raise SlimtableError(f"{len(unmeasured)} measurements failed. {'; '.join(unmeasured)}")
    printer.raise_errors()
    return Reproduction(out, study, list(printer.items.values()), out / REPORT)


class _Printer:
    """Writes tables and figures, each once for the same runs."""

    def __init__(self, study: Study[Any], place: Place[Any], on_item: Callable[[Rendered], None] | None) -> None:
        self.study, self.place, self.on_item = study, place, on_item
        self.items: dict[str, Rendered] = {}
        self.errors: dict[str, SlimtableError] = {}

    def write_complete(self, chosen: Sequence[str], records: Sequence[Record]) -> None:
        """Writes those that lack no run and were not written yet."""
        place = replace(self.place, records=records)
        self.write([item for item in chosen if item not in self.items and not self.study.missing(item, place)], records)

    def write(self, chosen: Sequence[str], records: Sequence[Record], tell: bool = True) -> None:
        """Writes what was not written yet; the others can still be made where one cannot."""
        place = replace(self.place, records=records)
        for item in chosen:
            if item in self.items or item in self.errors:
                continue
            try:
                self.items[item] = self.study.render(item, place)
            except SlimtableError as error:
                self.errors[item] = error
                continue
            self._write_files(self.items[item])
            if self.on_item is not None and tell:
                self.on_item(self.items[item])

    def write_pages(self, records: Sequence[Record]) -> None:
        """Writes the pages with all items, those that are there from before included."""
        out, study = self.place.out, self.study
        before = [item for item in study.items if any((out / f"{item}{end}").is_file() for end in (".md", ".png"))]
        self.write(before, records, tell=False)
        items = [self.items[item] for item in study.items if item in self.items]
        self.items = {item.item: item for item in items}
        named = out.name if out.is_absolute() else out.as_posix()  # tell nobody where a home folder lies
        command = command_line(study.name, study.options(), study.seeds(), named)
        runs = study.behind(replace(self.place, records=records))
        _write(out / INDEX, to_markdown(study.heading, items, command, runs))
        _write(out / REPORT, to_html(study.heading, items, command, runs))

    def raise_errors(self) -> None:
        """Raises the first error of an item that could not be drawn."""
        for error in self.errors.values():
            raise error

    def _write_files(self, item: Rendered) -> None:
        out = self.place.out
        out.mkdir(parents=True, exist_ok=True)
        _write(out / f"{item.item}.csv", to_csv(item.lines))
        if item.tables:
            _write(out / f"{item.item}.md", item_markdown(item))
        if item.picture is not None:
            _write(out / f"{item.item}.png", item.picture)
        else:
            (out / f"{item.item}.png").unlink(missing_ok=True)


def _agreed(out: Path, paper: type[Study[Any]], study: Study[Any] | None) -> Study[Any]:
    """The study asked for, or the one that the folder was started with; they must not differ.

    Raises:
        SlimtableError: they do, or the folder's settings are damaged.
    """
    path = out / SETTINGS
    if not path.is_file():
        return study if study is not None else paper.of()
    try:
        started: dict[str, Any] = json.loads(path.read_text())
        earlier = paper.from_settings(started)
        study = earlier if study is None else study
        settings = {panel.name: panel.settings() for panel in study.panels}
        same = started[_SCALE] == study.scale
        same = same and all(settings.get(panel) == train for panel, train in started[_TRAINING].items())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SlimtableError(f"{path} is damaged ({error}). Delete it.") from error
    if not same:
        words = " ".join(earlier.options()) or "none"
        raise SlimtableError(
            f"{out} was started as a {started.get(_SCALE)} reproduction with other settings. Call it with the same "
            f"options, which were {words}; or choose another folder."
        )
    return study


def _write_settings(out: Path, study: Study[Any], chosen: Sequence[str]) -> None:
    """Keeps what the folder is trained with: the panels of earlier calls and those that are trained now."""
    path = out / SETTINGS
    trained: dict[str, Any] = json.loads(path.read_text())[_TRAINING] if path.is_file() else {}
    names = study.trained_panels(chosen)
    trained |= {panel.name: panel.settings() for panel in study.panels if panel.name in names}
    write_json(path, {_SCALE: study.scale, _TRAINING: trained, _SEEDS: study.seeds()})


def _write(path: Path, content: str | bytes) -> None:
    with replace_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)
