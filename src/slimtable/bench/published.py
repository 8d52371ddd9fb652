"""What a paper reports, to stand beside our figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from slimtable.bench.results import Record
from slimtable.errors import SlimtableError

Figures = Mapping[str, Mapping[str, float]]
"""By method, as tables call it, and by name of a figure: its value."""


@dataclass(frozen=True)
class PublishedTable:
    """A table of a paper.

    Attributes:
        where: what a run must have to stand beside it: ``data``, ``backbone`` and ``split``, and training settings.
        figures: its values.
    """

    where: Mapping[str, Any]
    figures: Figures

    def fits(self, record: Record) -> bool:
        """Whether a run is of just this data, model and training; a model with options of its own never is."""
        about = {**record["train"], **record}
        return not record.get("backbone_config") and all(about.get(name) == v for name, v in self.where.items())


@dataclass(frozen=True)
class Published:
    """What a paper reports.

    Attributes:
        note: where the figures are from, to be read below a table that has some of them.
        tables: the figures.
        aliases: labels that spell out what is usual here, and the label that the paper's tables have for them.
    """

    note: str = ""
    tables: tuple[PublishedTable, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Reads a JSON file with ``note``, ``aliases`` and ``tables``, each with ``where`` and ``figures``.

        Raises:
            SlimtableError: the file is not there, or holds something else.
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
                f"{path} holds no published figures ({type(error).__name__}: {error}). Write `note`, and `tables` of "
                "`where` and `figures`."
            ) from None

    def table(self, **where: Any) -> Figures:
        """The figures of the table of just this place; empty where there is none."""
        return next((table.figures for table in self.tables if table.where == where), {})

    def of(self, record: Record) -> Mapping[str, float]:
        """The paper's figures for a run; empty where it has none."""
        label = self.aliases.get(record["label"], record["label"])
        return next(
            (table.figures[label] for table in self.tables if label in table.figures and table.fits(record)), {}
        )


def _figures(found: Any) -> Figures:
    return {method: {name: float(value) for name, value in row.items()} for method, row in found.items()}
