"""Which of the finished runs belong to an experiment of the MGQE paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from slimtable.bench.results import Record, canonical, setting_of
from slimtable.bench.table import Row, config_key, method_key, tabulate
from slimtable.embeddings.base import MethodConfig
from slimtable.errors import SlimtableError
from studies.mgqe.experiments import Panel, Profile, Want


class Store:
    """Finished runs, found by panel, width and method.

    Args:
        records: finished runs, of other experiments too.
        profile: whose runs are looked for.

    Raises:
        SlimtableError: runs of one panel were made on different data.
    """

    def __init__(self, records: Sequence[Record], profile: Profile) -> None:
        self._profile = profile
        self._by_training: dict[str, list[Record]] = {}
        for record in records:
            if not record.get("backbone_config"):
                self._by_training.setdefault(_key(record["data"], record["backbone"], record["train"]), []).append(
                    record
                )

    def records(self, panel: Panel, embedding_dim: int | None = None, epochs: int | None = None) -> list[Record]:
        """The runs of a panel, with tables of a width and trained for some epochs; None for the usual ones.

        Raises:
            SlimtableError: they were made on different data.
        """
        train = {
            name: value for name, value in panel.trained_at(embedding_dim, epochs).to_dict().items() if name != "seed"
        }
        found = self._by_training.get(_key(panel.data, panel.model_name, train), [])
        if len({setting_of(record) for record in found}) > 1:
            raise SlimtableError(
                f"The results hold runs of {panel.title} on different data or splits. Keep those of one in a folder."
            )
        return found

    def rows(
        self,
        panel: Panel,
        configs: Sequence[MethodConfig],
        embedding_dim: int | None = None,
        epochs: int | None = None,
    ) -> list[Row | None]:
        """A row for each configuration, over all seeds that are there; None where it was not run."""
        keys = [config_key(config) for config in configs]
        by_key = {
            row.key: row for section in tabulate(self.records(panel, embedding_dim, epochs)) for row in section.rows
        }
        return [by_key.get(key) for key in keys]

    def runs(self, panel: Panel, config: MethodConfig) -> dict[int, Record]:
        """The runs of a configuration by seed, ascending."""
        key = config_key(config)
        found = {record["seed"]: record for record in self.records(panel) if method_key(record) == key}
        return dict(sorted(found.items()))

    def full_bits(self, panel: Panel) -> int | None:
        """Size of the panel's uncompressed model at the usual width; None where nothing was run at it."""
        found = self.records(panel)
        return int(found[0]["full_bits"]) if found else None

    def missing(self, wants: Sequence[Want]) -> int:
        """How many of the wanted runs are not there."""
        count = 0
        for want in wants:
            found = self.records(self._profile.panel(want.panel), want.embedding_dim, want.epochs)
            there = {record["seed"] for record in found if method_key(record) == config_key(want.config)}
            count += len(set(want.seeds) - there)
        return count


def _key(data: str, model_name: str, train: dict[str, Any]) -> str:
    return canonical([data, model_name, train])
