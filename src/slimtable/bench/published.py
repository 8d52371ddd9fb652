"""Published results of a paper, shown next to ours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from slimtable.bench.results import Record
from slimtable.errors import SlimtableError

Figures = Mapping[str, Mapping[str, float]]
"""Values by label of the method and name of the metric."""


@dataclass(frozen=True)
class PublishedTable:
    """A table of a paper.

    Attributes:
        where: values that a run must have to be compared: ``data``, ``backbone``, ``split`` and training settings.
        figures: its values.
    """

    where: Mapping[str, Any]
    figures: Figures

    def fits(self, record: Record) -> bool:
        """True if a run has these values, and a model with default options."""
        about = {**record["train"], **record}
        return not record.get("backbone_config") and all(about.get(name) == v for name, v in self.where.items())


@dataclass(frozen=True)
class Published:
    """The published results of a paper.

    Attributes:
        note: source of the values, shown below tables that include some of them.
        tables: the values.
        aliases: other labels of runs, and the label of the same configuration in the tables.
    """

    note: str = ""
    tables: tuple[PublishedTable, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Reads a JSON file with ``note``, ``aliases`` and ``tables``, each with ``where`` and ``figures``.

        Raises:
            SlimtableError: the file does not exist or has another form.
        """
        try:
            found = json.loads(Path(path).read_text(encoding="utf-8"))
            tables = tuple(
                PublishedTable(dict(table["where"]), _figures(table["figures"])) for table in found["tables"]
            )
            return cls(str(found["note"]), tables, dict(found.get("aliases", {})))
        except OSError as error:
            raise SlimtableError(f"cannot read {path}: {error.strerror}.") from None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SlimtableError(
                f"{path} holds no published results ({type(error).__name__}: {error}). Write `note`, and `tables` of "
                "`where` and `figures`."
            ) from None

    def table(self, **where: Any) -> Figures:
        """The values of the table with exactly these ``where`` values; empty if there is none."""
        return next((table.figures for table in self.tables if table.where == where), {})

    def of(self, record: Record) -> Mapping[str, float]:
        """The published values for a run; empty if there are none."""
        label = self.aliases.get(record["label"], record["label"])
        return next(
            (table.figures[label] for table in self.tables if label in table.figures and table.fits(record)), {}
        )


def _figures(found: Any) -> Figures:
    return {method: {name: float(value) for name, value in row.items()} for method, row in found.items()}
