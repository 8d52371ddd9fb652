"""Files that other libraries wrote, see make_fixtures.py, read as these libraries read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from slimtable.codecs.base import Rows
from slimtable.tables import open_tables

FILES = Path(__file__).parent / "files"
EXPECTED = dict(np.load(FILES / "expected.npz"))

CASES = [
    ("recbole.pth", "user_embedding.weight", "recbole.user_embedding.weight"),
    ("recbole.pth", "item_embedding.weight", "recbole.item_embedding.weight"),
    ("implicit.npz", "user_factors", "implicit.user_factors"),
    ("implicit.npz", "item_factors", "implicit.item_factors"),
    ("lightfm.pkl", "user_embeddings", "lightfm.user_embeddings"),
    ("lightfm.pkl", "item_embeddings", "lightfm.item_embeddings"),
    ("lightfm.npz", "item_representations", "lightfm.item_representations"),
    ("gensim.kv", "vectors", "gensim"),
    ("gensim-beside.kv", "vectors", "gensim"),
    ("word2vec.bin", "table", "gensim"),
    ("word2vec.txt", "table", "word2vec.txt"),
    ("torchrec.pt", "embedding_bags.t1.weight", "torchrec"),
    ("fbgemm.pt", "fp32", "fbgemm.fp32"),
    ("fbgemm.pt", "fp16", "fbgemm.fp16"),
    ("torchrec-int8.pt", "embedding_bags.t1.weight", "torchrec.int8"),
    ("torchrec-int8-split.pt", "embedding_bags.t1.weight", "torchrec.int8"),
]


@pytest.mark.parametrize(("file", "name", "expected"), CASES)
def test_tables_of_other_libraries(file: str, name: str, expected: str) -> None:
    table = open_tables(FILES / file)[name]
    read = Rows(table).read(0, len(table))
    if file.startswith(("fbgemm", "torchrec-int8")):
        # scale · code + offset: FBGEMM fuses the two, so that the last bit may differ
        np.testing.assert_allclose(read, EXPECTED[expected], rtol=1e-6, atol=1e-6)
    else:
        np.testing.assert_array_equal(read, EXPECTED[expected])


def test_only_tables_are_found() -> None:
    """No states of optimizers, no gradients of LightFM, no biases, and nothing of the configuration of RecBole."""
    assert list(open_tables(FILES / "recbole.pth")) == ["user_embedding.weight", "item_embedding.weight"]
    assert list(open_tables(FILES / "lightfm.pkl")) == ["item_embeddings", "user_embeddings"]
    assert list(open_tables(FILES / "implicit.npz")) == ["user_factors", "item_factors"]


@pytest.mark.parametrize("file", ["gensim.kv", "gensim-beside.kv", "word2vec.bin", "word2vec.txt"])
def test_words_are_ids(file: str) -> None:
    (table,) = open_tables(FILES / file).values()
    assert list(table.ids) == EXPECTED["gensim.words"].tolist()


def test_an_array_beside_a_pickle_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "a.kv").write_bytes((FILES / "gensim-beside.kv").read_bytes())
    with pytest.raises(ValueError, match=r"needs a.kv.vectors.npy beside it. Copy it into the same folder"):
        open_tables(tmp_path / "a.kv")


def test_files_are_small() -> None:
    assert all(path.stat().st_size < 50_000 for path in FILES.iterdir())
