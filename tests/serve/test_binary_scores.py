from __future__ import annotations

import numpy as np
import pytest

from slimtable.artifact.layouts import decode
from slimtable.codecs.base import Rows
from slimtable.codecs.binary import Binary
from slimtable.codecs.rabitq import Rabitq
from slimtable.codecs.uniform import Uniform
from slimtable.serve.binary_scores import BinaryScores


def tables(width: int, mean: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(width)
    draw = generator.standard_normal
    return (draw((50, width)) + mean).astype(np.float32), (draw((300, width)) - mean).astype(np.float32)


@pytest.mark.parametrize("width", [1, 7, 64, 70, 128])
@pytest.mark.parametrize("codecs", [(Binary(), Binary(16)), (Rabitq(1), Rabitq(1)), (Rabitq(1, rounds=0), Binary())])
def test_scores_are_the_products_of_decoded_rows(width, codecs) -> None:
    packed = [codec.compress(Rows(table)) for codec, table in zip(codecs, tables(width), strict=True)]
    users, items = (decode(each, np.arange(each.num_embeddings)).astype(np.float64) for each in packed)
    ids = np.array([3, 0, 49, 3])
    found = BinaryScores(*packed)(ids)
    expected = users[ids] @ items.T
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_padding_rows_score_zero() -> None:
    users, items = tables(16)
    users[2], items[5] = 0, 0
    packed = [Binary().compress(Rows(table, padding)) for table, padding in ((users, 2), (items, 5))]
    found = BinaryScores(*packed)(np.array([1, 2]))
    assert not found[1].any()
    assert not found[:, 5].any()
    assert found[0].any()


def test_ids_are_checked() -> None:
    packed = [Binary().compress(Rows(table)) for table in tables(8)]
    with pytest.raises(IndexError):
        BinaryScores(*packed)(np.array([50]))
    with pytest.raises(ValueError, match="one dimension"):
        BinaryScores(*packed)(np.array([[1]]))
    assert BinaryScores(*packed)(np.array([], np.int64)).shape == (0, 300)


@pytest.mark.parametrize(
    ("codecs", "widths", "said"),
    [
        ((Binary(), Uniform(1)), (8, 8), "one bit per value"),
        ((Binary(), Rabitq(2)), (8, 8), "one bit per value"),
        ((Binary(), Binary()), (8, 9), "8 dimensions and items 9"),
        ((Rabitq(1, seed=1), Rabitq(1, seed=2)), (8, 8), "same rotation"),
        ((Binary(), Rabitq(1)), (8, 8), "same rotation"),
    ],
)
def test_tables_that_do_not_fit_are_refused(codecs, widths, said) -> None:
    packed = [codec.compress(Rows(tables(width)[0])) for codec, width in zip(codecs, widths, strict=True)]
    with pytest.raises(ValueError, match=said):
        BinaryScores(*packed)
