"""Makes the tables and figures of the MGQE paper: trains what is missing, and draws what is there."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slimtable.bench.grids import run_grids
from slimtable.bench.results import RESULTS, Record, read_results
from slimtable.errors import SlimtableError
from slimtable.files import replace_file, write_json
from slimtable.reproduce.items import Rendered, Workplace, render_item
from slimtable.reproduce.mgqe import ITEMS, Profile, grids, make_profile, wanted
from slimtable.reproduce.page import command_line, item_markdown, to_html, to_markdown
from slimtable.reproduce.store import Store

_SEEDS = "seeds"  # how many were asked for; more or fewer are no other settings
SETTINGS, REPORT, INDEX = "reproduction.json", "report.html", "README.md"


@dataclass(frozen=True)
class Reproduction:
    """What a folder holds.

    Attributes:
        out: the folder.
        profile: how much of the paper was done.
        items: its tables and figures.
        report: the page with all of them.
    """

    out: Path
    profile: Profile
    items: list[Rendered]
    report: Path


def reproduce_mgqe(
    out: str | Path,
    profile: Profile | None = None,
    *,
    only: Sequence[str] = (),
    render: bool = False,
    data_root: str | Path | None = None,
    workers: int | None = None,
    progress: bool = True,
    on_item: Callable[[Rendered], None] | None = None,
) -> Reproduction:
    """Reproduces tables and figures of the MGQE paper.

    Finished runs are never repeated and those that were cut off continue, so it may be stopped and called again. With
    several workers, a script that calls this must guard the call by ``if __name__ == "__main__":``.

    Args:
        out: folder of the results.
        profile: how much to do; None for what the folder was begun with, else all of it.
        only: names of :data:`slimtable.reproduce.mgqe.ITEMS`; empty for all.
        render: train nothing, and draw from the runs that are there.
        data_root: folder of datasets; None for the usual one.
        workers: processes, one thread each; 1 for this process alone, None for one per core.
        progress: show a progress bar on a terminal.
        on_item: called with each table and figure as soon as its runs are finished and it is written.

    Returns:
        The folder's tables and figures.

    Raises:
        ValueError: there is no such table or figure.
        SlimtableError: the folder was begun with other settings, or runs failed; the others are finished and shown.
        DatasetError: the data cannot be had.
    """
    for name in only:
        if name not in ITEMS:
            raise ValueError(f"There is no {name!r} to reproduce. Choose from {', '.join(ITEMS)}.")
    out = Path(out)
    profile = _agreed_profile(out, profile)
    chosen = [item for item in ITEMS if not only or item in only]
    root = None if data_root is None else Path(data_root)
    printer = _Printer(out, profile, root, on_item)
    if render:
        records = read_results(out) if (out / RESULTS).is_file() or not _dataless(chosen) else []
        failed: Callable[[], None] | None = None
    else:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / SETTINGS, {**profile.settings(), _SEEDS: profile.seeds()})
        done = run_grids(
            grids(chosen, profile, root),
            out,
            workers=workers,
            progress=progress,
            on_change=lambda finished: printer.write_complete(chosen, finished),
        )
        records, failed = done.records, done.raise_failures
    printer.write(chosen, records)
    printer.write_pages(records)
    if failed is not None:
        failed()
    printer.raise_errors()
    return Reproduction(out, profile, list(printer.items.values()), out / REPORT)


class _Printer:
    """Writes tables and figures, each once for the same runs."""

    def __init__(
        self, out: Path, profile: Profile, data_root: Path | None, on_item: Callable[[Rendered], None] | None
    ) -> None:
        self.out, self.profile, self.data_root, self.on_item = out, profile, data_root, on_item
        self.items: dict[str, Rendered] = {}
        self.errors: dict[str, SlimtableError] = {}

    def write_complete(self, chosen: Sequence[str], records: Sequence[Record]) -> None:
        """Writes those that lack no run and were not written yet."""
        store = Store(records, self.profile)
        done = [item for item in chosen if item not in self.items and not store.missing(wanted(item, self.profile))]
        self.write(done, records)

    def write(self, chosen: Sequence[str], records: Sequence[Record]) -> None:
        """Writes what was not written yet."""
        place = Workplace(self.out, self.profile, Store(records, self.profile), self.data_root)
        for item in chosen:
            if item in self.items or item in self.errors:
                continue
            try:
                self._write(render_item(item, place))
            except SlimtableError as error:  # the others can still be made
                self.errors[item] = error
                continue
            if self.on_item is not None:
                self.on_item(self.items[item])

    def write_pages(self, records: Sequence[Record]) -> None:
        """Writes the pages with all items, those that are there from before included."""
        place = Workplace(self.out, self.profile, Store(records, self.profile), self.data_root)
        for item in ITEMS:
            if item not in self.items and any((self.out / f"{item}{end}").is_file() for end in (".md", ".png")):
                try:
                    self._write(render_item(item, place))
                except SlimtableError as error:
                    self.errors[item] = error
        items = [self.items[item] for item in ITEMS if item in self.items]
        self.items = {item.item: item for item in items}
        command = self._command()
        _write_text(self.out / INDEX, to_markdown(items, command, records))
        _write_text(self.out / REPORT, to_html(items, command, records))

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

    def _command(self) -> str:
        usual = make_profile(self.profile.name == "quick")
        sizes = {}
        for panel, other in zip(self.profile.panels, usual.panels, strict=False):
            if panel.train.batch_size != other.train.batch_size:
                sizes[panel.backbone] = panel.train.batch_size
        named = self.out.name if self.out.is_absolute() else self.out.as_posix()  # tell nobody where a home folder lies
        return command_line(self.profile.name, sizes, self.profile.seeds(), named)


def _agreed_profile(out: Path, profile: Profile | None) -> Profile:
    """The profile asked for, or the one that the folder was begun with; they must not differ.

    Raises:
        SlimtableError: they do, or the folder's settings are damaged.
    """
    path = out / SETTINGS
    if not path.is_file():
        return profile if profile is not None else make_profile(quick=False)
    try:
        begun: dict[str, Any] = json.loads(path.read_text())
        if profile is None:
            profile = _profile_of(begun)
        same = profile.settings() == {name: value for name, value in begun.items() if name != _SEEDS}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SlimtableError(f"{path} is damaged ({error}). Delete it.") from error
    if not same:
        raise SlimtableError(
            f"{out} was begun as a {begun.get('profile')} reproduction with other settings. Call it with the same "
            "--quick and --batch-size, or choose another folder."
        )
    return profile


def _profile_of(begun: dict[str, Any]) -> Profile:
    quick = begun["profile"] == "quick"
    panels = make_profile(quick).panels
    return make_profile(quick, begun.get(_SEEDS), {p.backbone: begun["train"][p.name]["batch_size"] for p in panels})


def _dataless(chosen: Sequence[str]) -> bool:
    return list(chosen) == ["figure4"]


def _write_text(path: Path, text: str) -> None:
    with replace_file(path) as file:
        file.write(text.encode())
