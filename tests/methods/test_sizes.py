"""Sizes in bits are exact: the values of the MGQE paper's setting, computed by hand from its Table 1."""

from __future__ import annotations

import pytest

from slimtable.embeddings.base import get_config
from slimtable.models.base import build
from slimtable.models.neumf import NeuMFConfig
from slimtable.models.sasrec import SASRecConfig

USERS, ITEMS, DIM = 6040, 3416, 64  # MovieLens-1M


@pytest.mark.parametrize(
    ("method", "options", "bits"),
    [
        ("full", {}, 19_367_968),
        ("low_rank", {"rank": 48}, 14_723_104),
        ("low_rank", {}, 14_723_104),
        ("uniform", {"bits": 8}, 4_851_744),
        ("dpq", {"num_codebooks": 64, "codebook_size": 256}, 5_892_128),
        ("dpq", {}, 5_892_128),
        ("mgqe", {"codebook_sizes": [256, 64]}, 4_802_848),
        ("mgqe", {"codebook_sizes": [256, 64], "share_codebook": False}, 5_064_992),
        ("mgqe", {"codebook_sizes": [256, 256], "num_codebooks": [64, 32], "share_codebook": False}, 4_762_144),
    ],
)
def test_gmf_on_movielens(method, options, bits) -> None:
    model = build("gmf", USERS, ITEMS, DIM, get_config(method, options))
    assert model.bits() == bits
    assert model.full_bits() == 19_367_968


UNSHARED_K = {"codebook_sizes": [256, 64], "share_codebook": False}
UNSHARED_D = {"codebook_sizes": [256, 256], "num_codebooks": [64, 32], "share_codebook": False}


@pytest.mark.parametrize(
    ("layers", "full_bits", "bits"),
    [
        (
            None,  # [128,64,32,16], NCF's pyramid at d = 64
            39_082_016,
            [29_792_288, 10_049_568, 12_130_336, 9_951_776, 10_476_064, 9_870_368],
        ),
        (
            [128, 256, 128, 64],
            41_109_536,
            [31_819_808, 12_077_088, 14_157_856, 11_979_296, 12_503_584, 11_897_888],
        ),
    ],
    ids=str,
)
def test_neumf_on_movielens(layers, full_bits, bits) -> None:
    check("neumf", NeuMFConfig(layers=layers), full_bits, bits)


def test_sasrec_on_movielens() -> None:
    """One table of 3,417 rows, the padding row included."""
    bits = [6_800_896, 3_207_680, 3_727_872, 3_334_272, 3_465_344, 3_464_960]
    check("sasrec", SASRecConfig(), 8_452_096, bits)


def check(model_name, options, full_bits, bits) -> None:
    configs = [
        get_config("full"),
        get_config("low_rank", {"rank": 48}),
        get_config("uniform", {"bits": 8}),
        get_config("dpq"),
        get_config("mgqe"),
        get_config("mgqe", UNSHARED_K),
        get_config("mgqe", UNSHARED_D),
    ]
    for config, expected in zip(configs, [full_bits, *bits], strict=True):
        model = build(model_name, USERS, ITEMS, DIM, config, options)
        assert model.bits() == expected, config
        assert model.full_bits() == full_bits


def test_the_papers_own_accounting_is_another() -> None:
    """MGQE's printed 20.7 % needs a codebook of 64 rows, not the 256 of its Table 1 (decision 0004)."""
    model = build("gmf", USERS, ITEMS, DIM, get_config("mgqe"))
    smaller_codebooks = model.bits() - 2 * 32 * (256 - 64) * DIM
    assert smaller_codebooks == 4_016_416
    assert round(100 * smaller_codebooks / model.full_bits(), 1) == 20.7
