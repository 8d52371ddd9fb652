from __future__ import annotations

from slimtable.grouping import Hash, group
from tests.grouping.graphs import power_law


def test_the_remainder_of_the_id_takes_no_space() -> None:
    found = group(power_law(), "random[user_rows=7;item_rows=5]")
    assert found.users.rows.tolist() == [user % 7 for user in range(300)]
    assert found.items.rows.tolist() == [item % 5 for item in range(200)]
    assert found.users.computed == Hash(count=7)
    assert found.statistics.map_bits == 0


def test_rows_never_exceed_the_ids() -> None:
    found = group(power_law(), "random[user_rows=900;item_rows=5]")
    assert found.users.num_rows == 300
