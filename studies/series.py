"""Finished runs of one row of a table, over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slimtable.bench.measures import Measure
from slimtable.bench.results import Record, canonical, setting_of
from slimtable.bench.table import Difference, Estimate, config_key, method_key
from slimtable.embeddings.base import MethodConfig
from slimtable.errors import SlimtableError
from slimtable.training.trainer import TrainConfig


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

    def estimate(self, measure: Measure) -> Estimate:
        """A figure of the best validated epoch, or of the last one where nothing was validated."""
        return Estimate.of([value_of(record, measure) for record in self.records])

    def difference(self, other: Series, measure: Measure) -> Difference | None:
        """This minus the other, paired by seed; None where no seed has both."""
        paired = [
            value_of(record, measure) - value_of(other.by_seed[seed], measure)
            for seed, record in self.by_seed.items()
            if seed in other.by_seed
        ]
        return Difference.of(paired) if paired else None

    def mean(self, name: str) -> float:
        """The mean of a number that stands in the records themselves."""
        return sum(float(record[name]) for record in self.records) / len(self.by_seed)


def value_of(record: Record, measure: Measure) -> float:
    """A figure of a run at its best validated epoch, or at the last one where nothing was validated."""
    return measure.of(record, "last" if record["metrics"]["best"] is None else "best")


class Runs:
    """Finished runs, found by data, split, model and training.

    Args:
        records: finished runs, of other experiments too.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self._found: dict[str, list[Record]] = {}
        for record in records:
            if not record.get("backbone_config"):
                key = _key(record["data"], record["split"], record["backbone"], record["train"])
                self._found.setdefault(key, []).append(record)

    def series(
        self, data: str, split: str, model_name: str, train: TrainConfig, configs: Mapping[int, MethodConfig]
    ) -> Series | None:
        """The runs of a row; None where there is none.

        Args:
            data: name of the data.
            split: name of the split.
            model_name: registry name of the recommender.
            train: how it is trained, whatever the seed.
            configs: the configuration for each seed.

        Raises:
            SlimtableError: runs of this setting were made on different data.
        """
        settings = {name: value for name, value in train.to_dict().items() if name != "seed"}
        records = self._found.get(_key(data, split, model_name, settings), [])
        if len({setting_of(record) for record in records}) > 1:
            raise SlimtableError(f"The results hold runs on different {data}. Keep those of one in a folder.")
        by_key = {(method_key(record), record["seed"]): record for record in records}
        keys = {seed: (config_key(config), seed) for seed, config in sorted(configs.items())}
        by_seed = {seed: by_key[key] for seed, key in keys.items() if key in by_key}
        return Series(by_seed) if by_seed else None


def _key(data: str, split: str, model_name: str, train: Mapping[str, object]) -> str:
    return canonical([data, split, model_name, train])
