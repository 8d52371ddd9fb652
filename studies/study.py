"""What a paper is: panels that are trained, items that are made of the runs, and how much of it is done."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

from slimtable.bench.grids import Grid
from slimtable.bench.jobs import Source
from slimtable.bench.results import Record
from slimtable.config import Config
from slimtable.reporting.tables import Table
from slimtable.training.trainer import TrainConfig
from studies.captions import Captions
from studies.series import Row, Runs, Want

Line = dict[str, Any]
"""A line of numbers for a CSV file."""


@dataclass(frozen=True)
class Panel:
    """A model on some data.

    Attributes:
        name: what the experiments call it.
        title: what captions call it.
        data: name of the dataset.
        model_name: registry name of the model.
        train: training settings.
        seeds: seeds of its leading rows.
        split: name of the split; None for the one that is usual for the data.
    """

    name: str
    title: str
    data: str
    model_name: str
    train: Config
    seeds: int = 3
    split: str | None = None

    @property
    def word(self) -> str:
        """What the command line calls it; several may share a word."""
        return self.name

    def source(self, data_root: Path | None) -> Source:
        """Where its data comes from."""
        return Source(self.data, data_root, self.split)

    def settings(self) -> dict[str, Any]:
        """What its figures depend on, as JSON values; folders of results with different ones are not mixed."""
        return self.train.to_dict()

    def seeded(self, seeds: int) -> Self:
        """The same with another number of seeds."""
        return replace(self, seeds=seeds)

    def trained(self, **changes: Any) -> Self:
        """The same with other training settings."""
        return replace(self, train=type(self.train).from_dict({**self.train.to_dict(), **changes}))


P = TypeVar("P", bound=Panel)


@dataclass(frozen=True)
class Place(Generic[P]):
    """What items are made from.

    Attributes:
        study: what was asked for.
        out: folder of the results.
        records: the finished runs, of other experiments too.
        data_root: folder of datasets; None for the usual one.
    """

    study: Study[P]
    out: Path
    records: Sequence[Record] = ()
    data_root: Path | None = None

    @cached_property
    def runs(self) -> Runs:
        """The finished runs, by what they are of."""
        return Runs(self.records)

    def rows(self, wants: Sequence[Want]) -> list[Row[Want]]:
        """A row for each configuration that is wanted."""
        return [Row(want, want.name, self.runs.series(want)) for want in wants]


@dataclass(frozen=True)
class Content:
    """What makes up a table or figure.

    Attributes:
        notes: how it was made, a paragraph each.
        tables: its tables, or the numbers of its picture that are worth reading.
        lines: all its numbers.
        picture: a PNG file, or None.
    """

    notes: Sequence[str]
    tables: Sequence[Table]
    lines: Sequence[Line]
    picture: bytes | None = None


@dataclass(frozen=True)
class Item(Generic[P]):
    """A table or figure of a paper, or one that goes beyond it.

    Attributes:
        name: its name on the command line, in the captions, and of its files.
        make: makes it from what is there; what was not run is said, never made up.
        panels: names of the panels that it is on.
        wants: the configurations that it needs on one of these panels, if it trains.
    """

    name: str
    make: Callable[[Item[P], Place[P]], Content]
    panels: tuple[str, ...] = ()
    wants: Callable[[P, Place[P]], Sequence[Want]] | None = None

    def panels_of(self, study: Study[P]) -> list[P]:
        """The panels that it is on."""
        return [panel for panel in study.panels if panel.name in self.panels]

    def wanted(self, place: Place[P]) -> list[Want]:
        """The configurations that it needs."""
        if self.wants is None:
            return []
        return [want for panel in self.panels_of(place.study) for want in self.wants(panel, place)]

    def rows(self, place: Place[P]) -> list[tuple[P, list[Row[Want]]]]:
        """The rows that it needs on each of its panels, with their runs."""
        found = place.rows(self.wanted(place))
        return [(panel, [row for row in found if row.of.panel is panel]) for panel in self.panels_of(place.study)]


@dataclass(frozen=True, kw_only=True)
class Rendered(Content):
    """A table or figure as it is written.

    Attributes:
        item: its name.
        title: what it is called in the paper, and on which data it is.
        statement: what the paper says of it, in our words.
        missing: wanted runs that are not there.
    """

    item: str
    title: str
    statement: str
    missing: int


@dataclass(frozen=True)
class Study(Generic[P]):
    """A paper, and how much of it is done.

    Attributes:
        scale: "full" or "quick".
        panels: what is trained.
        asked_seeds: how many seeds were asked for; None for the usual ones.
    """

    scale: str
    panels: tuple[P, ...]
    asked_seeds: int | None = None

    name: ClassVar[str]
    """Its word on the command line."""
    heading: ClassVar[str]
    """Title of the page with everything."""
    items: ClassVar[Mapping[str, Item[Any]]]
    """Its tables and figures, in order."""
    captions: ClassVar[Captions]
    """What is said of them."""
    scales: ClassVar[Mapping[str, Sequence[Any]]]
    """What is trained by default, "full" and "quick"."""
    changeable: ClassVar[tuple[str, ...]] = ()
    """Training settings that may be given."""
    tells_missing: ClassVar[bool] = True
    """Whether a note says how many runs are missing."""

    @classmethod
    def of(
        cls, quick: bool = False, seeds: int | None = None, changes: Mapping[str, Mapping[str, Any]] | None = None
    ) -> Self:
        """The study that a user asks for.

        Args:
            quick: minutes instead of days.
            seeds: seeds of the leading rows, counted from 0; None for the usual number.
            changes: other training settings, by field, of the panels of a name.

        Raises:
            ValueError: a number is out of range, or there is no such panel.
        """
        if seeds is not None and seeds < 1:
            raise ValueError(f"`seeds` must be at least 1, got {seeds}.")
        changes = changes or {}
        if unknown := [word for word in changes if word not in cls.words()]:
            raise ValueError(f"No experiment trains {unknown[0]!r}. They train {', '.join(cls.words())}.")
        scale = "quick" if quick else "full"
        panels = [panel.trained(**changes.get(panel.word, {})) for panel in cls.scales[scale]]
        return cls(scale, tuple(panels if seeds is None else [p.seeded(seeds) for p in panels]), seeds)

    @classmethod
    def words(cls) -> list[str]:
        """What the command line calls its panels."""
        return list(dict.fromkeys(panel.word for panel in cls.scales["full"]))

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Self:
        """What a folder was started with: its scale, the number of seeds and the settings of its panels."""
        words = {panel.name: panel.word for panel in cls.scales["full"]}
        changes = {
            words[panel]: {name: value for name, value in train.items() if name in cls.changeable}
            for panel, train in (settings["train"] if cls.changeable else {}).items()
        }
        return cls.of(settings["profile"] == "quick", settings.get("seeds"), changes)

    @property
    def quick(self) -> bool:
        """Whether it takes minutes instead of days."""
        return self.scale == "quick"

    def panel(self, name: str) -> P:
        """A panel by its name."""
        return next(panel for panel in self.panels if panel.name == name)

    def options(self) -> list[str]:
        """Command-line words that make this study of the usual one, without the number of seeds."""
        words = ["--quick"] if self.quick else []
        usual = {panel.name: panel for panel in self.scales[self.scale]}
        changed = dict.fromkeys(
            (f"--{name.replace('_', '-')}", f"{panel.word}={getattr(panel.train, name)}")
            for panel in self.panels
            for name in self.changeable
            if getattr(panel.train, name) != getattr(usual[panel.name].train, name)
        )
        return words + [word for pair in changed for word in pair]

    def seeds(self) -> int | None:
        """How many seeds were asked for; None where rows differ."""
        return self.asked_seeds

    def trained_panels(self, items: Sequence[str]) -> set[str]:
        """Names of the panels that some items train."""
        return {panel for item in items for panel in self.items[item].panels}

    def grids(self, items: Sequence[str], place: Place[P]) -> list[Grid]:
        """What has to be trained for some items, in order."""
        found: dict[tuple[str, TrainConfig, tuple[int, ...]], list[Want]] = {}
        for want in (want for item in items for want in self.items[item].wanted(place)):
            found.setdefault((want.panel.name, want.train, tuple(want.configs)), []).append(want)
        return [
            Grid(
                some[0].panel.source(place.data_root),
                some[0].panel.model_name,
                train,
                tuple(dict.fromkeys(want.config for want in some)),
                seeds,
            )
            for (_, train, seeds), some in found.items()
        ]

    def measure(self, items: Sequence[str], place: Place[P], *, workers: int | None, progress: bool) -> list[str]:
        """Measures what items need beyond trainings, and returns what failed and why; nothing by default."""
        return []

    def behind(self, place: Place[P]) -> Sequence[Record]:
        """What the page names as the runs behind it: records with "date", "versions" and "cpu"."""
        return place.records

    def missing(self, item: str, place: Place[P]) -> int:
        """How many runs of an item are not there."""
        rows = place.rows(self.items[item].wanted(place))
        return sum(len(row.of.configs) - (len(row.series.seeds) if row.series else 0) for row in rows)

    def render(self, item: str, place: Place[P]) -> Rendered:
        """Makes a table or figure.

        Raises:
            DatasetError: it needs a dataset that is not there.
            SlimtableError: the runs were made on different data.
        """
        about, missing = self.items[item], self.missing(item, place)
        content = about.make(about, place)
        notes = [*content.notes]
        if missing and self.tells_missing:
            notes.append(f"{missing} of the wanted runs are missing; this is made from those that are there.")
        title, statement = (self.captions.items[item][name] for name in ("title", "statement"))
        found: dict[str, Any] = {**vars(content), "notes": notes}
        return Rendered(**found, item=item, title=title, statement=statement, missing=missing)


def by_name(*items: Item[P]) -> dict[str, Item[P]]:
    """Items as a study has them."""
    return {item.name: item for item in items}


def describe_settings(train: Config, usual: Config, texts: Mapping[str, str], source: str = "paper") -> str:
    """Training settings in words, by field with a place for the value, and those of a source where they differ."""
    both = [(text, getattr(train, field), getattr(usual, field)) for field, text in texts.items()]
    return ", ".join(
        text.format(value) + ("" if value == other else f" ({source}: {other})") for text, value, other in both
    )


def to_csv(lines: Sequence[Line]) -> str:
    """Lines of numbers as a CSV file; a name that a line lacks is left empty."""
    names = list(dict.fromkeys(name for line in lines for name in line))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()
