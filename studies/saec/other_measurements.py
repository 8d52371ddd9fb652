"""What is measured besides the comparison: how values are served that are new, and how many move to other rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from slimtable.artifact.delta import write_delta
from slimtable.data.clicks.clicks import Bags, Clicks
from slimtable.data.clicks.windows import concatenate_clicks
from slimtable.embeddings.shared_rows import SharedRows
from slimtable.models.ctr import CTRModel
from slimtable.training.ctr_trainer import evaluate_clicks
from slimtable.training.new_values import cooccurrence_vectors
from slimtable.training.packing import pack_model
from studies.saec.experiments import HYSTERESIS, Entry
from studies.saec.snapshots import Measured, Snapshot, compress_at, over

_LEAST = 50  # impressions without which a window says nothing


def measure_new_values(seed: int, entry: Entry, snapshot: Snapshot) -> Measured:
    """The compressed and retrained model of a window, on impressions with values that are new to it.

    Returns:
        Under "fresh", impressions with a value that was first seen in the window just trained on, and under "unseen",
        those with a value not seen at all: metrics by how such values are served, and how many "rows" there are;
        nothing where they are few.
    """
    _, model = compress_at(seed, entry, snapshot)
    sizes = snapshot.sizes
    found: Measured = {"window": snapshot.number, "fresh": {}, "unseen": {}}
    rows = _having(snapshot.test, [snapshot.before[field] for field in sizes], list(sizes.values()))
    if len(rows) >= _LEAST:
        test = snapshot.test.take(rows)
        found["fresh"] = {
            "default row": evaluate_clicks(model, test.with_known(snapshot.before)),
            "mean of what they occur with": evaluate_clicks(guessed_counts(model, snapshot), test),
            "their own shared rows": evaluate_clicks(model, test),
            "uncompressed": evaluate_clicks(snapshot.model, test),
        }
    rows = _having(snapshot.unseen, list(sizes.values()), None)
    if len(rows) >= _LEAST:
        test = snapshot.test.take(rows)
        guessing, guessed = guess_by_request(model, snapshot, snapshot.unseen.take(rows))
        found["unseen"] = {
            "default row": evaluate_clicks(model, test),
            "mean of what they occur with": evaluate_clicks(guessing, guessed),
        }
    return found


def _having(clicks: Clicks, low: list[int], high: list[int] | None) -> np.ndarray:
    """Rows of clicks with an id of at least ``low`` and below ``high``, if given, in a field of one value."""
    chosen = np.zeros(len(clicks), bool)
    for place, field in enumerate(clicks.ids):
        if not isinstance(field, Bags):
            chosen |= (field >= low[place]) & (high is None or field < high[place])
    return np.flatnonzero(chosen)


def _decoded(model: CTRModel) -> list[np.ndarray]:
    return [table.weight.numpy() for table in model.fields.embeddings().values()]


def _over(model: CTRModel, tables: list[np.ndarray]) -> CTRModel:
    return over(model, dict(zip(model.fields.names, map(torch.from_numpy, tables), strict=True)))


def guessed_counts(model: CTRModel, snapshot: Snapshot) -> CTRModel:
    """The model with guessed rows for the values that were first seen in the window."""
    tables = _decoded(model)
    wanted = {
        place: np.arange(snapshot.before[field], len(tables[place])) for place, field in enumerate(snapshot.counts)
    }
    guessed = cooccurrence_vectors(snapshot.train, tables, wanted)
    for place, rows in guessed.items():
        tables[place] = tables[place].copy()
        tables[place][wanted[place]] = rows
    return _over(model, tables)


def guess_by_request(model: CTRModel, snapshot: Snapshot, requests: Clicks) -> tuple[CTRModel, Clicks]:
    """A row of its own for each unseen value of each request, from the other values of the request and past clicks.

    Labels of the requests are not looked at, nor are other requests.

    Returns:
        The model over tables with those rows, and the requests that name them.
    """
    tables = _decoded(model)
    known = requests.with_known([len(table) for table in tables])
    ids, longer = list(known.ids), list(tables)
    for place, field in enumerate(requests.ids):
        if isinstance(field, Bags):
            continue
        rows = np.flatnonzero(field >= len(tables[place]))
        if not len(rows):
            continue
        own = np.arange(len(tables[place]), len(tables[place]) + len(rows), dtype=np.int32)
        asked = known.take(rows)
        asked = Clicks(asked.labels, asked.numeric, (*asked.ids[:place], own, *asked.ids[place + 1 :]))
        default = np.repeat(tables[place][:1], len(rows), axis=0)  # what stays where nothing is known
        extended = list(tables)
        extended[place] = np.concatenate([tables[place], default])
        guessed = cooccurrence_vectors(concatenate_clicks([snapshot.train, asked]), extended, {place: own})
        longer[place] = np.concatenate([tables[place], guessed[place]])
        renamed = np.array(ids[place])
        renamed[rows] = own
        ids[place] = renamed
    return _over(model, longer), Clicks(known.labels, known.numeric, tuple(ids))


def measure_moving(seed: int, entry: Entry, snapshots: Sequence[Snapshot]) -> list[Measured]:
    """Compresses every window, continuing from the one before where the entry has a hysteresis.

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
        for snapshot in snapshots:
            figures, model = compress_at(seed, entry, snapshot, previous if continues else None)
            path = Path(folder) / f"{snapshot.number}.safetensors"
            figures["file"] = pack_model(model, path)
            if previous is not None:
                older = Path(folder) / f"{snapshot.number - 1}.safetensors"
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
