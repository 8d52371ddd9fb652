"""From tables and interactions to what is compressed together and what judges it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from slimtable.codecs.vectors import TableLike, Vectors
from slimtable.compress.guard import Guard, NeighbourGuard, TaskGuard, Worst
from slimtable.compress.plans import Input
from slimtable.data.interactions.interactions import Interactions
from slimtable.data.interactions.split import Split
from slimtable.embeddings.policy import Side

_ASKING = ("user", "query", "visitor", "customer", "session", "member")


def side_of(name: str) -> Side:
    """The side of a table by its name: "user" for names such as user.weight or query_tower, else "item".

    Example:
        >>> side_of("user_embedding.weight"), side_of("item_embedding.weight")
        ('user', 'item')
    """
    return "user" if any(word in name.lower() for word in _ASKING) else "item"


def make_inputs(
    tables: Mapping[str, TableLike],
    *,
    sides: Mapping[str, Side] | None = None,
    frequencies: Mapping[str, np.ndarray] | None = None,
    padding_idx: Mapping[str, int | None] | None = None,
    seen: Interactions | None = None,
) -> list[Input]:
    """Tables as inputs, with what is known about each.

    Args:
        tables: float (N, d) each, by name.
        sides: of tables whose name does not tell.
        frequencies: (N,) counts of ids, by name of the table.
        padding_idx: id that is served as zeros, by name of the table.
        seen: training interactions, numbered as the rows of the tables; they count the ids of tables without
            frequencies.

    Raises:
        ValueError: a name is not that of a table, or the frequencies do not match.
    """
    given = {"sides": sides or {}, "frequencies": frequencies or {}, "padding_idx": padding_idx or {}}
    for what, values in given.items():
        unknown = sorted(set(values) - set(tables))
        if unknown:
            raise ValueError(f"{what} names {', '.join(unknown)}, but the tables are {', '.join(tables)}.")
    found = []
    for name, table in tables.items():
        side = (sides or {}).get(name, side_of(name))
        counts = (frequencies or {}).get(name)
        if counts is None and seen is not None:
            counts = _padded(seen.user_counts() if side == "user" else seen.item_counts(), table.shape[0])
        found.append(Input(name, table, side, counts, (padding_idx or {}).get(name)))
    return found


def guard_of(
    tables: Sequence[Input], split: Split | None = None, kept: Sequence[Input] = (), *, seed: int = 0
) -> Guard:
    """The guard of tables: the task where there are interactions, the neighbours of rows where there are none.

    Args:
        tables: the tables to compress.
        split: interactions, numbered as the rows of the tables. Those of the test part are predicted, or of the
            validation part if that is empty.
        kept: tables that stay as they are but take part in the scores, such as that of the users.
        seed: of samples.

    Raises:
        ValueError: interactions need one table of users and one of items, of one width.
    """
    every = [*tables, *kept]
    vectors: dict[str, Vectors] = {table.name: table.rows.for_repeated_reads() for table in every}
    users = [table.name for table in every if table.side == "user"]
    items = [table.name for table in every if table.side == "item"]
    if split is not None:
        if len(users) != 1 or len(items) != 1:
            raise ValueError(
                f"Interactions judge one table of users and one of items, but there are {len(users)} and {len(items)}: "
                f"{', '.join(table.name for table in every)}. Say which is which with --users and --items, and give "
                "those that stay uncompressed with --uncompressed."
            )
        return TaskGuard(vectors, users[0], items[0], *seen_and_held_out(split), seed)
    guards: dict[str, Guard] = {}
    for table in tables:
        if table.side == "user" and len(users) == 1 and len(items) == 1 and _same_width(vectors, users[0], items[0]):
            continue  # asks, and is judged by what it finds
        asking = users[0] if len(users) == 1 and _same_width(vectors, users[0], table.name) else table.name
        if table.rows.num_embeddings > 2:
            guards[table.name] = NeighbourGuard(vectors, table.name, asking, seed)
    if not guards and len(items) == 1:
        guards[items[0]] = NeighbourGuard(vectors, items[0], users[0], seed)
    if not guards:
        raise ValueError("No table has enough rows to judge candidates on.")
    return Worst(guards)


def seen_and_held_out(split: Split) -> tuple[Interactions, Interactions]:
    """The interactions before the last part of a split, and that part: the test part, or without one the validation."""
    if len(split.test):
        return split.history("test"), split.test
    return split.history("valid"), split.valid


def numbered_as_rows(interactions: Interactions, num_users: int, num_items: int) -> Interactions:
    """Interactions whose ids are row numbers of tables.

    If there are as many ids as rows, id k is row k. Otherwise raw ids must be whole numbers, and are the row numbers.

    Args:
        interactions: as read from a file.
        num_users: rows of the users' table.
        num_items: rows of the items' table.

    Raises:
        ValueError: the ids do not tell which rows they are.
    """
    users, user_vocabulary = _numbered("users", interactions.users, interactions.user_vocabulary, num_users)
    items, item_vocabulary = _numbered("items", interactions.items, interactions.item_vocabulary, num_items)
    return dataclasses.replace(
        interactions, users=users, items=items, user_vocabulary=user_vocabulary, item_vocabulary=item_vocabulary
    )


def _numbered(what: str, ids: np.ndarray, raw: np.ndarray, num_rows: int) -> tuple[np.ndarray, np.ndarray]:
    if len(raw) == num_rows:
        return ids, raw
    if raw.dtype.kind in "iu" and len(raw) and int(raw.min()) >= 0 and int(raw.max()) < num_rows:
        return raw[ids], np.arange(num_rows)
    raise ValueError(
        f"The interactions have {len(raw):,} {what}, but their table has {num_rows:,} rows, and raw ids are not row "
        "numbers. Give the interactions that the tables were trained on, with row numbers as ids."
    )


def _same_width(vectors: Mapping[str, Vectors], left: str, right: str) -> bool:
    return vectors[left].shape[1] == vectors[right].shape[1]


def _padded(counts: np.ndarray, length: int) -> np.ndarray:
    """Counts of ids, with zeros for rows that do not occur."""
    return np.concatenate((counts, np.zeros(max(0, length - len(counts)), counts.dtype)))[:length]
