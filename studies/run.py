"""Makes the tables and figures of a paper: trains what is missing, and draws what is there."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from slimtable.bench.grids import run_grids
from slimtable.bench.results import RESULTS, Record, read_results
from slimtable.errors import SlimtableError
from slimtable.files import replace_file, write_json
from studies.page import command_line, item_markdown, to_html, to_markdown
from studies.study import Place, Rendered, Study

_SCALE, _TRAINING = "profile", "train"
_SEEDS = "seeds"  # how many were asked for; more or fewer are no other settings
SETTINGS, REPORT, INDEX = "reproduction.json", "report.html", "README.md"

_S = TypeVar("_S", bound=Study)


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
    study: Study
    items: list[Rendered]
    report: Path


def reproduce(
    paper: type[Study],
    out: str | Path,
    study: Study | None = None,
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
        paper: which one.
        out: folder of the results.
        study: how much to do; None for what the folder was begun with, else all of it.
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
        SlimtableError: the folder was begun with other settings, or runs failed; the others are finished and shown.
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
    root = None if data_root is None else Path(data_root)
    printer = _Printer(out, study, root, on_item)
    if render:
        begun = (out / RESULTS).is_file() and (out / RESULTS).stat().st_size
        records = read_results(out) if begun or not study.untrained.issuperset(chosen) else []
        failed: Callable[[], None] | None = None
    else:
        out.mkdir(parents=True, exist_ok=True)
        _write_settings(out, study, chosen)
        done = run_grids(
            study.grids(chosen, out, root),
            out,
            workers=workers,
            progress=progress,
            on_change=lambda finished: printer.write_complete(chosen, finished),
        )
        records, failed = done.records, done.raise_failures
        study.measure(chosen, out, root, workers=workers, progress=progress)
    printer.write(chosen, records)
    printer.write_pages(records)
    if failed is not None:
        failed()
    printer.raise_errors()
    return Reproduction(out, study, list(printer.items.values()), out / REPORT)


class _Printer:
    """Writes tables and figures, each once for the same runs."""

    def __init__(
        self, out: Path, study: Study, data_root: Path | None, on_item: Callable[[Rendered], None] | None
    ) -> None:
        self.out, self.study, self.data_root, self.on_item = out, study, data_root, on_item
        self.items: dict[str, Rendered] = {}
        self.errors: dict[str, SlimtableError] = {}

    def write_complete(self, chosen: Sequence[str], records: Sequence[Record]) -> None:
        """Writes those that lack no run and were not written yet."""
        place = Place(self.out, records, self.data_root)
        done = [item for item in chosen if item not in self.items and not self.study.missing(item, place)]
        self.write(done, records)

    def write(self, chosen: Sequence[str], records: Sequence[Record]) -> None:
        """Writes what was not written yet."""
        place = Place(self.out, records, self.data_root)
        for item in chosen:
            if item in self.items or item in self.errors:
                continue
            try:
                self._write(self.study.render(item, place))
            except SlimtableError as error:  # the others can still be made
                self.errors[item] = error
                continue
            if self.on_item is not None:
                self.on_item(self.items[item])

    def write_pages(self, records: Sequence[Record]) -> None:
        """Writes the pages with all items, those that are there from before included."""
        place = Place(self.out, records, self.data_root)
        for item in self.study.items:
            if item not in self.items and any((self.out / f"{item}{end}").is_file() for end in (".md", ".png")):
                try:
                    self._write(self.study.render(item, place))
                except SlimtableError as error:
                    self.errors[item] = error
        items = [self.items[item] for item in self.study.items if item in self.items]
        self.items = {item.item: item for item in items}
        named = self.out.name if self.out.is_absolute() else self.out.as_posix()  # tell nobody where a home folder lies
        command = command_line(self.study.name, self.study.options(), self.study.seeds(), named)
        runs = self.study.runs(place)
        _write_text(self.out / INDEX, to_markdown(self.study.heading, items, command, runs))
        _write_text(self.out / REPORT, to_html(self.study.heading, items, command, runs))

    def raise_errors(self) -> None:
        """Raises the first error of an item that could not be drawn."""
        for error in self.errors.values():
            raise error

    def _write(self, rendered: Rendered) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        _write_text(self.out / f"{rendered.item}.csv", rendered.csv)
        if rendered.tables:
            _write_text(self.out / f"{rendered.item}.md", item_markdown(rendered))
        picture = self.out / f"{rendered.item}.png"
        if rendered.picture is not None:
            with replace_file(picture) as file:
                file.write(rendered.picture)
        else:
            picture.unlink(missing_ok=True)
        self.items[rendered.item] = rendered


def _agreed(out: Path, paper: type[_S], study: Study | None) -> Study:
    """The study asked for, or the one that the folder was begun with; they must not differ.

    Raises:
        SlimtableError: they do, or the folder's settings are damaged.
    """
    path = out / SETTINGS
    if not path.is_file():
        return study if study is not None else paper.usual()
    try:
        begun: dict[str, Any] = json.loads(path.read_text())
        earlier = paper.begun(begun)
        study = earlier if study is None else study
        trained = begun[_TRAINING]
        same = begun[_SCALE] == study.scale and set(trained) <= set(study.training())
        same = same and all(study.training()[panel] == train for panel, train in trained.items())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SlimtableError(f"{path} is damaged ({error}). Delete it.") from error
    if not same:
        words = " ".join(earlier.options()) or "none"
        raise SlimtableError(
            f"{out} was begun as a {begun.get(_SCALE)} reproduction with other settings. Call it with the same "
            f"options, which were {words}; or choose another folder."
        )
    return study


def _write_settings(out: Path, study: Study, chosen: Sequence[str]) -> None:
    """Keeps what the folder is trained with: the panels of earlier calls and those that are trained now."""
    path = out / SETTINGS
    trained: dict[str, Any] = json.loads(path.read_text())[_TRAINING] if path.is_file() else {}
    panels = study.panels_of(chosen)
    trained |= {panel: train for panel, train in study.training().items() if panel in panels}
    write_json(path, {_SCALE: study.scale, _TRAINING: trained, _SEEDS: study.seeds()})


def _write_text(path: Path, text: str) -> None:
    with replace_file(path) as file:
        file.write(text.encode())
