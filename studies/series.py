"""Finished runs of one row of a table, over seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from slimtable.bench.measures import Measure
from slimtable.bench.results import Record, canonical, setting_of
from slimtable.bench.table import Difference, Estimate, config_key, method_key
from slimtable.config import Config
from slimtable.embeddings.base import MethodConfig
from slimtable.errors import SlimtableError
from slimtable.training.trainer import TrainConfig

if TYPE_CHECKING:
    from studies.study import Panel

Figure = Callable[[Record], float]
"""What is read from a finished run."""

T = TypeVar("T")


@dataclass(frozen=True)
class Series:
    """The runs of a row; its configuration may differ from seed to seed, as where the seed is of a grouping too.

    Attributes:
        by_seed: a record for each seed that was run, ascending.
    """

    by_seed: Mapping[int, Record]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that were run."""
        return tuple(self.by_seed)

    @property
    def records(self) -> list[Record]:
        """The records, by seed."""
        return list(self.by_seed.values())

    def estimate(self, figure: Figure) -> Estimate:
        """A figure over seeds."""
        return Estimate.of([figure(record) for record in self.records])

    def difference(self, other: Series | None, figure: Figure) -> Difference | None:
        """This minus the other, paired by seed; None where no seed has both, or where they are the same."""
        if other is None or other is self:
            return None
        both = [(record, other.by_seed[seed]) for seed, record in self.by_seed.items() if seed in other.by_seed]
        return Difference.of([figure(mine) - figure(theirs) for mine, theirs in both]) if both else None

    def mean(self, name: str) -> float:
        """The mean of a number that stands in the records themselves."""
        return sum(float(record[name]) for record in self.records) / len(self.by_seed)


def at_best(measure: Measure) -> Figure:
    """A figure at the best validated epoch, or at the last one where nothing was validated."""
    return lambda record: measure.of(record, "last" if record["metrics"]["best"] is None else "best")


@dataclass(frozen=True)
class Want:
    """A configuration that an item needs on a panel.

    Attributes:
        panel: the panel.
        name: what tables call it.
        configs: the method, for each seed.
        train: how it is trained, whatever the seed.
    """

    panel: Panel
    name: str
    configs: Mapping[int, MethodConfig]
    train: TrainConfig

    @property
    def config(self) -> MethodConfig:
        """The method, with the first seed."""
        return next(iter(self.configs.values()))


@dataclass(frozen=True)
class Row(Generic[T]):
    """A row of a table.

    Attributes:
        of: what it is of.
        name: what the table calls it.
        series: its runs; None where there is none.
    """

    of: T
    name: str
    series: Series | None

    @property
    def runs(self) -> Series:
        """Its runs, where there are some."""
        assert self.series is not None
        return self.series


class Runs:
    """Finished runs, found by data, model and training.

    Args:
        records: finished runs, of other experiments too.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self._found: dict[str, list[Record]] = {}
        for record in records:
            if not record.get("backbone_config"):
                key = canonical([record["data"], record["backbone"], record["train"]])
                self._found.setdefault(key, []).append(record)

    def of(self, panel: Panel, train: Config) -> list[Record]:
        """The runs of a panel with some training settings, whatever the seed.

        Raises:
            SlimtableError: they were made on different data.
        """
        settings: dict[str, Any] = {name: value for name, value in train.to_dict().items() if name != "seed"}
        found = self._found.get(canonical([panel.data, panel.model_name, settings]), [])
        found = [record for record in found if panel.split in (None, record["split"])]
        if len({setting_of(record) for record in found}) > 1:
            raise SlimtableError(
                f"The results hold runs of {panel.title} on different data or splits. Keep those of one in a folder."
            )
        return found

    def series(self, want: Want) -> Series | None:
        """The runs that are wanted; None where there is none; errors as :meth:`of`."""
        by_key = {(method_key(record), record["seed"]): record for record in self.of(want.panel, want.train)}
        keys = {seed: (config_key(config), seed) for seed, config in sorted(want.configs.items())}
        by_seed = {seed: by_key[key] for seed, key in keys.items() if key in by_key}
        return Series(by_seed) if by_seed else None
