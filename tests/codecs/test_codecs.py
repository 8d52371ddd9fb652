"""What every codec keeps: the same bytes whatever the blocks, the bits it says, decodable files, no PyTorch."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from slimtable.artifact.layouts import decode, exact_bits
from slimtable.codecs.base import Codec, Rows
from slimtable.codecs.dense import Dense
from slimtable.codecs.low_rank import LowRank
from slimtable.codecs.uniform import Uniform
from slimtable.compress import compress_table
from slimtable.embeddings.base import get_config, method_of

CODECS: list[tuple[Codec, str, dict[str, object]]] = [
    (Dense(), "full", {}),
    (LowRank(3), "low_rank", {"rank": 3}),
    (Uniform(8), "uniform", {}),
    (Uniform(3), "uniform", {"bits": 3}),
    (Uniform(5, "row", 16), "uniform", {"bits": 5, "axis": "row", "scale_bits": 16}),
    (Uniform(1, "row"), "uniform", {"bits": 1, "axis": "row"}),
]
TABLE = (0.1 * np.random.default_rng(0).standard_normal((1003, 7))).astype(np.float32)
PADDED = TABLE.copy()
PADDED[4] = 0


@pytest.fixture(params=CODECS, ids=lambda value: str(value[0]))
def case(request: pytest.FixtureRequest) -> tuple[Codec, str, dict[str, object]]:
    return request.param


@pytest.mark.parametrize("padding", [None, 4])
def test_blocks_of_any_size_in_any_order_give_the_same_bytes(case, padding) -> None:
    codec = case[0]
    rows = Rows(TABLE if padding is None else PADDED, padding)
    whole = codec.compress(rows)
    for size in (8, 200, 1000):
        fitted = codec.fit(rows)
        blocks = [fitted.encode(block, first) for first, block in rows.blocks(size)]
        packed = fitted.pack(reversed(blocks))
        for name, array in whole.arrays.items():
            if isinstance(codec, LowRank) and name == "left":  # products of blocks of other sizes round otherwise
                np.testing.assert_allclose(packed.arrays[name], array, rtol=1e-5, atol=1e-7)
            else:
                assert np.array_equal(packed.arrays[name], array), name


def test_bits_are_those_of_the_table(case) -> None:
    codec = case[0]
    assert codec.bits_of(*TABLE.shape) == exact_bits(codec.compress(Rows(TABLE)))


@pytest.mark.parametrize("padding", [None, 4])
def test_the_bytes_are_those_of_the_module(case, padding) -> None:
    _, name, options = case
    table, config = (TABLE if padding is None else PADDED), get_config(name, options)
    module = method_of(config).from_table(torch.from_numpy(table.copy()), config, padding_idx=padding).eval().pack()
    packed = compress_table(table, config, padding_idx=padding)
    assert (packed.layout, packed.layout_config, packed.method) == (module.layout, module.layout_config, name)
    for array_name, array in module.arrays.items():
        if name == "low_rank":
            np.testing.assert_allclose(packed.arrays[array_name], array, rtol=1e-4, atol=1e-5)
        else:
            assert np.array_equal(packed.arrays[array_name], array), array_name
    ids = np.arange(len(table))
    np.testing.assert_allclose(decode(packed, ids), decode(module, ids), rtol=1e-4, atol=1e-5)


def test_a_mapped_file_gives_the_same_bytes(case, tmp_path) -> None:
    codec = case[0]
    np.save(tmp_path / "t.npy", TABLE)
    mapped = codec.compress(Rows(np.load(tmp_path / "t.npy", mmap_mode="r")))
    for name, array in codec.compress(Rows(TABLE)).arrays.items():
        assert np.array_equal(mapped.arrays[name], array)


def test_missing_and_repeated_blocks_are_refused() -> None:
    rows = Rows(TABLE)
    fitted = Dense().fit(rows)
    blocks = [fitted.encode(block, first) for first, block in rows.blocks(400)]
    for wrong in (blocks[:-1], blocks[1:], [*blocks, blocks[0]]):
        with pytest.raises(ValueError, match="do not make up 1,003 rows"):
            fitted.pack(wrong)


@pytest.mark.parametrize(
    ("change", "padding", "said"),
    [
        (lambda t: t.__setitem__((700, 2), np.nan), None, "first in row 700"),
        (lambda t: t.__setitem__((3, 1), np.inf), None, "first in row 3"),
        (lambda t: None, 5, "row of padding_idx=5 is not zeros"),
        (lambda t: None, 2000, "padding_idx=2000 is not an id"),
    ],
)
def test_bad_tables_are_refused(change, padding, said) -> None:
    table = TABLE.copy()
    change(table)
    with pytest.raises(ValueError, match=said):
        Uniform().compress(Rows(table, padding))


def test_codecs_work_without_pytorch() -> None:
    script = """
import sys
sys.modules["torch"] = None
import numpy as np
from slimtable.codecs.base import Rows
from slimtable.codecs.dense import Dense
from slimtable.codecs.low_rank import LowRank
from slimtable.codecs.quantize import fast_kmeans, residual, nearest, subspace_kmeans  # noqa
from slimtable.codecs.uniform import Uniform
table = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
print([codec.compress(Rows(table)).nbytes for codec in (Dense(), Uniform(4), LowRank(2))])
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[800, 132, 432]"
