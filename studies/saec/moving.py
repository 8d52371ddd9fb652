"""How many values change their shared row from window to window, and how much has to be published for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from slimtable.artifact.delta import write_delta
from slimtable.embeddings.shared_rows import SharedRows
from slimtable.models.ctr import CTRModel
from slimtable.training.packing import pack_model
from studies.saec.experiments import HYSTERESIS, Entry
from studies.saec.moments import Measured, Moment, compress_at


def measure_moving(seed: int, entry: Entry, moments: Sequence[Moment]) -> list[Measured]:
    """Compresses every window, continuing from the one before where the entry has a hysteresis.

    Args:
        seed: of what is drawn.
        entry: how models are compressed.
        moments: all of them, in order.

    Returns:
        The figures of each window as in a comparison; from the second on also "known", assignments of values that the
        window before had, "moved", those of them that changed, and bytes of the "file" and of its "delta".
    """
    continues = HYSTERESIS[entry.name] is not None
    options = {name: value for name, value in entry.options.items() if value is not None}
    entry = replace(entry, options=options)
    previous: CTRModel | None = None
    found = []
    with TemporaryDirectory() as folder:
        for moment in moments:
            figures, model = compress_at(seed, entry, moment, previous if continues else None)
            path = Path(folder) / f"{moment.number}.safetensors"
            figures["file"] = pack_model(model, path)
            if previous is not None:
                older = Path(folder) / f"{moment.number - 1}.safetensors"
                figures["delta"] = write_delta(older, path, Path(folder) / "delta").bytes
                figures["known"], figures["moved"] = count_moved(previous, model)
            found.append(figures)
            previous = model
    return found


def count_moved(before: CTRModel, after: CTRModel) -> tuple[int, int]:
    """Assignments of a value to a shared row that both models have, and how many of them differ."""
    known = moved = 0
    tables = after.fields.embeddings()
    for field, old in before.fields.embeddings().items():
        new = tables[field]
        if isinstance(old, SharedRows) and isinstance(new, SharedRows) and old.num_tables == new.num_tables:
            for level in range(old.num_tables):
                earlier, now = old.row_map(level), new.row_map(level)[: old.num_embeddings]
                known += len(earlier)
                moved += int((earlier != now).sum())
    return known, moved
