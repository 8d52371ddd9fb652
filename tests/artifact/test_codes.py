"""Codes of packed tables as integers, their health, and the ledger of a file's bytes."""

import numpy as np
import pytest

from slimtable.artifact import Packed, read_artifact, write_artifact
from slimtable.artifact.bits import code_bits, pack_bits
from slimtable.artifact.code_health import code_health, no_collision_rate, warnings_of
from slimtable.artifact.codes import BLOCK_IDS, codes_of, codes_of_array
from slimtable.artifact.ledger import KINDS, ledger
from tests.artifact.artifact_samples import coded, plain_bits, samples, shared

SAMPLES = samples()


def _all(codes):
    return np.concatenate([*codes.blocks(), np.empty((0, len(codes.sizes)), np.uint32)])


def test_codes_of_tiers_are_those_of_the_stream() -> None:
    packed = coded([(70, 6, 200, 0), (90, 3, 10, 1)])
    first, second = codes_of(packed)
    assert (first.name, first.sizes, second.name, second.sizes) == ("tier 0", (200,) * 6, "tier 1", (10,) * 3)
    assert (_all(first).ravel() == plain_bits(packed.arrays["codes.0"], 8, 420)).all()
    assert (_all(second).ravel() == plain_bits(packed.arrays["codes.1"], 4, 270)).all()


def test_blocks_that_begin_within_a_byte() -> None:
    num = BLOCK_IDS + 77
    packed = coded([(num, 3, 5, 0)], dim=3)
    (codes,) = codes_of(packed)
    assert [len(block) for block in codes.blocks()] == [BLOCK_IDS, 77]
    assert (_all(codes).ravel() == plain_bits(packed.arrays["codes.0"], 3, 3 * num)).all()


def test_stored_maps_are_codes_and_computed_maps_are_not() -> None:
    stages = shared([(7, 6, 32), (5, 6, 16)], [(0, 0, "stored", 1.0), (1, 0, "stored", 1.0)])
    (codes,) = codes_of(stages)
    assert (codes.names, codes.sizes, codes.one_codebook) == (("map 0", "map 1"), (7, 5), False)
    expected = [plain_bits(stages.arrays[f"map.{t}"], 3, 30) for t in range(2)]
    assert (_all(codes) == np.stack(expected, axis=1)).all()
    assert codes_of(SAMPLES["shared-double-hash"]) == codes_of(SAMPLES["scaled-row"]) == []
    assert codes_of(SAMPLES["shared-mean-of-two"])[0].one_codebook


def _quantized(num, number, size, dim=12):
    codes = np.random.default_rng(0).integers(0, size, (num, number))
    config = {"num_codebooks": number, "codebook_size": size, "combine": "sum", "shared": False, "codebook_bits": 32}
    config |= {"gain_bits": 0, "rotation": None, "offset": False}
    arrays = {"codes": pack_bits(codes, code_bits(size)), "codebook": np.zeros((number, size, dim), np.float32)}
    return codes, Packed("quantized", num, dim, arrays, config)


def test_codes_of_a_quantized_table_and_of_the_parts_of_a_tiered_one() -> None:
    expected, packed = _quantized(50, 3, 20)
    (codes,) = codes_of(packed)
    assert (_all(codes) == expected).all()
    head = SAMPLES["scaled-row"]
    parts = [(head, 11), (packed, 50)]
    arrays = {f"part.{i}.{name}": array for i, (part, _) in enumerate(parts) for name, array in part.arrays.items()}
    config = {"parts": [{"num_rows": n, "layout": p.layout, "layout_config": p.layout_config} for p, n in parts]}
    (codes,) = codes_of(Packed("tiered", 61, 12, arrays, config))
    assert codes.name == "part 1"
    assert (_all(codes) == expected).all()


def test_health_by_the_definitions() -> None:
    array = np.array([[0, 0], [0, 0], [1, 0], [2, 5], [2, 5], [2, 5]])
    health = code_health(codes_of_array(array, (4, 8)))
    first, second = health.codebooks
    shares = np.array([2, 1, 3]) / 6
    assert (first.used, first.dead, first.num_codes, first.largest_bucket) == (3, 1, 6, 0.5)
    assert first.entropy == pytest.approx(-(shares * np.log2(shares)).sum())
    assert first.perplexity == pytest.approx(np.prod(shares**-shares))
    assert first.entropy_ratio == pytest.approx(first.entropy / 2)
    assert (second.entropy, second.perplexity, second.used_fraction) == (1.0, 2.0, 0.25)
    assert (health.distinct, health.unique, health.largest_collision) == (3, 1, 3)
    assert health.no_collision_rate == pytest.approx(1 / 6)


def test_equal_use_of_all_centroids_is_perfect_health() -> None:
    (book,) = code_health(codes_of_array(np.arange(256)[:, None], (256,))).codebooks
    assert (book.used_fraction, book.entropy_ratio, book.dead, book.perplexity) == (1.0, 1.0, 0, 256.0)


@pytest.mark.parametrize("number", [1, 7, 8, 9, 20])
def test_tuples_longer_than_a_word_are_compared_whole(number) -> None:
    """Rows that differ in one code only, first or last, are different."""
    array = np.zeros((2 + number, number), np.int64)
    array[np.arange(number), np.arange(number)] = 255
    health = code_health(codes_of_array(array, (256,) * number))
    assert (health.distinct, health.unique, health.largest_collision) == (number + 1, number, 2)


def test_one_codebook_for_all_positions_is_summed() -> None:
    packed = coded([(400, 4, 33, 0)], share=True)
    (codes,) = codes_of(packed)
    *positions, whole = code_health(codes).codebooks
    assert whole.name == "all codes"
    assert whole.num_codes == sum(book.num_codes for book in positions) == 1600
    assert whole.used >= max(book.used for book in positions)


def test_a_collapsed_codebook_gives_a_warning_and_a_small_table_none() -> None:
    collapsed = code_health(codes_of_array(np.arange(20_000)[:, None] % 20, (256,)))
    (text,) = warnings_of([collapsed])
    assert "236 of 256 centroids are dead" in text
    assert warnings_of([code_health(codes_of_array(np.arange(200)[:, None] % 20, (256,)))]) == []


def test_an_empty_tier_has_no_collisions() -> None:
    groups = [code_health(codes) for codes in codes_of(SAMPLES["tiers-empty"])]
    assert (groups[1].num_ids, groups[1].no_collision_rate, groups[1].codebooks[0].used) == (0, 1.0, 0)
    assert no_collision_rate(groups) == sum(group.unique for group in groups) / 64


@pytest.mark.parametrize(
    ("array", "sizes", "error", "words"),
    [
        (np.zeros((2, 2)), (4, 4), TypeError, "integers"),
        (np.zeros(3, int), (4,), ValueError, "matrix"),
        (np.zeros((0, 2), int), (4, 4), ValueError, "matrix"),
        (np.zeros((2, 2), int), (4,), ValueError, "2 codes per id, but 1"),
        (np.array([[0, 1], [3, 9]]), (4, 8), ValueError, "Code 1 of id 1 is 9"),
        (np.array([[0, 1], [-1, 0]]), (4, 8), ValueError, "Code 0 of id 1 is -1"),
    ],
)
def test_codes_that_cannot_be_right(array, sizes, error, words) -> None:
    with pytest.raises(error, match=words):
        codes_of_array(array, sizes)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_ledger_adds_up_to_the_file(name, tmp_path) -> None:
    packed = SAMPLES[name]
    raw_ids = [f"id {i}" for i in range(packed.num_embeddings)] if packed.num_embeddings % 2 else None
    write_artifact(
        tmp_path / "t.safetensors",
        {"t": packed},
        tensors={"bias": np.zeros(3, np.float32)},
        vocabularies=raw_ids and {"t": raw_ids},
    )
    opened = read_artifact(tmp_path / "t.safetensors")
    entries = ledger(opened)
    assert sum(entry.bits for entry in entries) == 8 * (tmp_path / "t.safetensors").stat().st_size
    assert {entry.kind for entry in entries} <= set(KINDS)
    assert ("raw ids" in {entry.kind for entry in entries}) == bool(raw_ids)


def test_the_ledger_tells_codes_from_codebooks_and_padding(tmp_path) -> None:
    write_artifact(tmp_path / "t.safetensors", {"t": coded([(70, 3, 5, 0)])})
    bits = {entry.kind: entry.bits for entry in ledger(read_artifact(tmp_path / "t.safetensors"))}
    assert (bits["codes"], bits["padding"], bits["codebooks"]) == (630, 2, 32 * 5 * 12)
