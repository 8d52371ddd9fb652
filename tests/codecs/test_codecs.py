"""What every codec keeps: the same bytes whatever the blocks, the bits it says, decodable files, no PyTorch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from slimtable import codecs
from slimtable.artifact.layouts import decode, exact_bits
from slimtable.artifact.packed import Packed
from slimtable.codecs.base import Codec, FitContext, Rows
from slimtable.codecs.dense import Dense
from slimtable.codecs.saec import EarlierStage, Saec
from slimtable.codecs.uniform import Uniform
from slimtable.compress import compress_table
from slimtable.embeddings.base import MethodConfig, get_config, method_of
from tests.contract.cases import CASES, case_id

TABLE = (0.1 * np.random.default_rng(0).standard_normal((1003, 8))).astype(np.float32)
PADDED = TABLE.copy()
PADDED[4] = 0
FREQUENCIES = np.random.default_rng(1).zipf(1.5, len(TABLE)).clip(max=10_000)


def table_of(config: MethodConfig, padding: int | None = None) -> np.ndarray:
    """The table that a configuration compresses; its magnitudes if negative values are refused."""
    table = TABLE if padding is None else PADDED
    return table if method_of(config).signed else np.abs(table)


def codec_of(case: tuple[str, dict[str, object]]) -> Codec | None:
    return get_config(*case).codec(*TABLE.shape)


@pytest.fixture(params=[case for case in CASES if codec_of(case)], ids=case_id)
def config(request: pytest.FixtureRequest) -> MethodConfig:
    """Every configuration of the contract that has a codec."""
    return get_config(*request.param)


@pytest.fixture(params=[None, 4], ids=["", "padding"])
def padding(request: pytest.FixtureRequest) -> int | None:
    return request.param


@pytest.fixture(params=[None, FREQUENCIES], ids=["", "frequencies"])
def context(request: pytest.FixtureRequest) -> FitContext:
    return FitContext(request.param)


def test_every_file_of_a_codec_is_under_test() -> None:
    tested = {type(codec).__module__ for case in CASES if (codec := codec_of(case))}
    files = {path.stem for path in Path(codecs.__path__[0]).glob("*.py")} - {
        "__init__",
        "base",
        "blockwise",
        "reservoir",
        "vectors",
        "gain_shape",
    }
    assert {f"slimtable.codecs.{name}" for name in files} == tested


def test_blocks_of_any_size_in_any_order_give_the_same_bytes(config, padding, context) -> None:
    codec, rows = config.codec(*TABLE.shape), Rows(table_of(config, padding), padding)
    whole = codec.compress(rows, context)
    for size in (8, 200, 1000):
        fitted = codec.fit(rows, context)
        blocks = [fitted.encode(block, first) for first, block in rows.blocks(size=size)]
        same_bytes(fitted.pack(reversed(blocks)), whole, config)


def test_bits_are_those_of_the_table(config, context) -> None:
    codec = config.codec(*TABLE.shape)
    packed = codec.compress(Rows(table_of(config)), context)
    told, found = codec.bits_of(*TABLE.shape, context.frequencies), exact_bits(packed)
    assert found == told if codec.exact_size else found <= told


def test_the_bytes_are_those_of_the_module(config, padding, context) -> None:
    table, counts = table_of(config, padding), context.frequencies
    importance = None if counts is None else torch.from_numpy(counts)
    module = method_of(config).from_table(
        torch.from_numpy(table.copy()), config, padding_idx=padding, frequencies=importance
    )
    expected = module.eval().pack()
    packed = compress_table(table, config, padding_idx=padding, frequencies=counts)
    assert (packed.method, packed.method_config) == (expected.method, expected.method_config)
    same_bytes(packed, expected, config)
    ids = np.arange(len(table))
    np.testing.assert_allclose(decode(packed, ids), decode(expected, ids), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_a_mapped_file_gives_the_same_bytes(config, tmp_path, dtype) -> None:
    table = table_of(config).astype(dtype)
    np.save(tmp_path / "t.npy", table)
    mapped = np.load(tmp_path / "t.npy", mmap_mode="r")
    same_bytes(compress_table(mapped, config), compress_table(table, config), config)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("saec", {"num_rows": 60, "stages": 3, "row_bits": 8, "min_frequency": 2, "head": 0.1}),
        ("saec", {"num_rows": 3000, "iterations": 1}),  # its sample is the whole table, which is not copied
        ("mgqe", {"codebook_sizes": [16, 4], "num_codebooks": 2}),
        ("dpq", {"codebook_size": 8, "share_subspaces": True}),
    ],
)
def test_tables_of_many_blocks_give_the_same_bytes_from_a_file(tmp_path, name, options) -> None:
    generator, config = np.random.default_rng(2), get_config(name, options)
    table = generator.standard_normal((100_003, 4)).astype(np.float32)
    table[7] = 0
    counts = generator.zipf(1.5, len(table)).clip(max=10_000)
    np.save(tmp_path / "t.npy", table)
    mapped = np.load(tmp_path / "t.npy", mmap_mode="r")
    expected = compress_table(table, config, padding_idx=7, frequencies=counts)
    same_bytes(compress_table(mapped, config, padding_idx=7, frequencies=counts), expected, config)


def test_parts_and_changed_copies_of_a_mapped_file_are_read_as_they_are(config, tmp_path) -> None:
    table = table_of(config)
    np.save(tmp_path / "t.npy", np.concatenate([table + 1, table]))
    part = np.load(tmp_path / "t.npy", mmap_mode="r")[len(table) :]
    expected = compress_table(table, config)
    same_bytes(compress_table(part, config), expected, config)
    same_bytes(compress_table(part[:, ::-1], config), compress_table(table[:, ::-1], config), config)
    changed = np.load(tmp_path / "t.npy", mmap_mode="c")[: len(table)]
    changed -= 1  # in memory only
    same_bytes(compress_table(changed, config), compress_table((table + 1) - 1, config), config)


def test_a_mapped_file_that_is_replaced_meanwhile_is_still_read(tmp_path) -> None:
    np.save(tmp_path / "t.npy", TABLE)
    rows = Rows(np.load(tmp_path / "t.npy", mmap_mode="r"))
    (tmp_path / "other").write_bytes(b"shorter")
    (tmp_path / "other").replace(tmp_path / "t.npy")
    assert np.array_equal(rows.read(0, len(TABLE)), TABLE)


def test_the_order_of_a_table_in_memory_does_not_change_a_bit(config) -> None:
    table = table_of(config)
    packed, expected = compress_table(np.asfortranarray(table), config), compress_table(table, config)
    assert all(np.array_equal(packed.arrays[name], array) for name, array in expected.arrays.items())


def same_bytes(packed: Packed, expected: Packed, config: MethodConfig) -> None:
    assert (packed.layout, packed.layout_config) == (expected.layout, expected.layout_config)
    assert sorted(packed.arrays) == sorted(expected.arrays)
    for name, array in expected.arrays.items():
        found = packed.arrays[name]
        assert (found.shape, found.dtype) == (array.shape, array.dtype), name
        if packed.layout == "low_rank":  # products of blocks of other sizes round otherwise
            np.testing.assert_allclose(found, array, rtol=1e-4, atol=1e-5)
        else:
            assert np.array_equal(found, array), name


def test_missing_and_repeated_blocks_are_refused() -> None:
    rows = Rows(TABLE)
    fitted = Dense().fit(rows)
    blocks = [fitted.encode(block, first) for first, block in rows.blocks(size=400)]
    for wrong in (blocks[:-1], blocks[1:], [*blocks, blocks[0]]):
        with pytest.raises(ValueError, match="must hold each of the 1,003 rows exactly once"):
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


@pytest.mark.parametrize(
    ("name", "options", "table", "said"),
    [
        ("uniform", {}, np.array([[-3e38], [3e38]], np.float32), r"scales of 32 bits\. Scale the table"),
        ("low_rank", {"rank": 1}, np.full((5, 4), 3e38, np.float32), "too large for float32"),
        ("saec", {"num_rows": 9, "row_bits": 16}, 1e7 * TABLE, "Use row_bits=32, or scale"),
        ("dpq", {"num_codebooks": 2, "codebook_size": 4}, 1e30 * TABLE, "Squares of values above 1e"),
        ("dpq", {"num_codebooks": 5}, TABLE[:, :1], r"got 5\. Use 1\."),
        ("dpq", {"num_codebooks": 5}, TABLE[:, :4], r"got 5\. Use 1, 2 or 4\."),
    ],
)
def test_tables_that_a_codec_cannot_represent_are_refused(name, options, table, said) -> None:
    with pytest.raises(ValueError, match=said):
        compress_table(table, get_config(name, options))


@pytest.mark.parametrize("table", [[[1.0, 2.0]], torch.eye(3)])
def test_a_table_that_is_not_an_array_is_refused(table) -> None:
    with pytest.raises(TypeError, match=r"A table is a NumPy array, got (list|Tensor)"):
        Rows(table)


@pytest.mark.parametrize("scale", [1e300, 1e-300])
def test_the_scale_of_frequencies_does_not_matter(scale) -> None:
    config = get_config("saec", {"num_rows": 30, "stages": 2})
    counts = 2.0 ** np.arange(len(TABLE)).clip(max=20)  # powers of two, so that scaling is exact
    expected = decode(compress_table(TABLE, config, frequencies=counts), np.arange(len(TABLE)))
    found = decode(compress_table(TABLE, config, frequencies=counts * scale), np.arange(len(TABLE)))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "frequencies",
    [
        FREQUENCIES[:-1],
        np.where(FREQUENCIES == 1, -1, 2),
        np.full(1003, np.nan),
        FREQUENCIES.astype(complex),
        FREQUENCIES.astype(str),
    ],
)
def test_bad_frequencies_are_refused(frequencies) -> None:
    config = get_config("saec", {"num_rows": 9})
    with pytest.raises(ValueError, match="frequencies must"):
        compress_table(TABLE, config, frequencies=frequencies)


@pytest.mark.parametrize(
    "metric", [np.eye(7), np.ones(8), np.full((8, 8), np.nan), np.diag(np.full(8, np.inf)), np.tri(8)]
)
def test_a_metric_that_is_no_metric_is_refused(metric) -> None:
    with pytest.raises(ValueError, match=r"finite, symmetric matrix \(8, 8\)"):
        Saec(9).fit(Rows(TABLE), FitContext(metric=metric))


def test_an_earlier_table_of_more_ids_is_refused() -> None:
    found = Saec(30).fit(Rows(TABLE))
    earlier = EarlierStage(found.tables[0][:20], found.codes[:, 0], None, np.arange(990, 1000))
    with pytest.raises(ValueError, match="more ids than this one"):
        Saec(30, head=0.4).fit(Rows(TABLE[:900]), FitContext(previous=[earlier]))


def test_codecs_work_without_pytorch() -> None:
    script = """
import sys
sys.modules["torch"] = None
import numpy as np
from slimtable.codecs.base import Rows
from slimtable.codecs.binary import Binary
from slimtable.codecs.dense import Dense
from slimtable.codecs.low_rank import LowRank
from slimtable.codecs.magnitude import Magnitude
from slimtable.codecs.nmf import NonNegative
from slimtable.codecs.product import Product, Tier
from slimtable.codecs.rabitq import Rabitq
from slimtable.codecs.saec import Saec
from slimtable.codecs.ternary import Ternary
from slimtable.codecs.tiered import Tiered
from slimtable.codecs.uniform import Uniform
table = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
product = Product((Tier(10, 2, 4, 0), Tier(40, 2, 2, 0)))
tiered = Tiered(lambda n, d: Dense(), lambda n, d: Rabitq(2), head_rows=9)
codecs = (Dense(), Uniform(4), LowRank(2), Saec(7), product, Rabitq(2), Binary(), Ternary(), Magnitude(0.5), tiered)
print([codec.compress(Rows(table)).nbytes for codec in codecs], NonNegative(2).compress(Rows(abs(table))).nbytes)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[800, 132, 432, 131, 79, 132, 115, 128, 225, 258] 432"


@pytest.mark.slow
def test_kernels_round_alike_when_they_come_from_the_cache(tmp_path) -> None:
    script = """
import hashlib
import numpy as np
from slimtable.codecs.base import FitContext, Rows
from slimtable.codecs.saec import Saec
generator = np.random.default_rng(0)
table = generator.standard_normal((5000, 16)).astype(np.float32)
packed = Saec(300, stages=3, row_bits=32).compress(Rows(table), FitContext(generator.zipf(1.5, 5000).clip(max=1000)))
print(hashlib.sha256(b"".join(packed.arrays[name].tobytes() for name in sorted(packed.arrays))).hexdigest())
"""
    told = []
    for _ in range(2):  # compiled, then loaded
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
        told.append(subprocess.check_output([sys.executable, "-c", script], env=environment))
    assert told[0] == told[1]
