"""Files of each format version, kept for ever: they must open, decode to the same rows, and be written the same."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from slimtable.artifact import decode, verify_artifact, write_artifact
from tests.artifact.artifact_samples import plain_decode

HERE = Path(__file__).parent / "golden"
GOLDEN = sorted(file.stem for file in HERE.glob("*.safetensors"))
# What the rows of the golden files are, whatever the code of today thinks.
ROWS = {
    "v1-coded-shared": "6e0670202a2cab3a",
    "v1-coded-tiers": "1ec15043adfe508f",
    "v1-coded-unsorted": "376fd05cb3489dc4",
    "v1-coded": "d85f325381d4547f",
    "v1-dense-float16": "f17dd7d688939172",
    "v1-dense": "9afd887af71d6d2f",
    "v1-everything": "bbf7adcc11ec13c0",
    "v1-low_rank": "17a65810154448d7",
    "v1-no-tables": "e3b0c44298fc1c14",  # nothing to decode
    "v1-scaled-column": "cf1bb3e7d61395d7",
    "v1-scaled-row": "ead89fe96345816d",
    "v2-mixed": "c486e388dbea8bbd",
    "v2-shared-double-hash": "0d7e560ca56ce776",
    "v2-shared-hybrid-hash": "2fc70e9c7e7a5a2f",
    "v2-shared-mean-of-two": "6cdec01c2c0f7093",
    "v2-shared-modulo": "a8b914f70f9122bb",
    "v2-shared-one-row": "e623fedae30a312f",
    "v2-shared-rows-4-bit": "80cc65c23b20c49d",
    "v2-shared-rows-8-bit": "d6886758d98a1b13",
    "v2-shared-sums-in-chunks": "27cbd8d611fcf8cd",
    "v2-shared-views-side-by-side": "ce868b4b32c92564",
    "v2-shared-views-summed": "af4f74a360b540b4",
    "v2-shared-weighted-tanh": "6632c357c59843c7",
    "v3-product-of-stored": "18f308740494d9b1",
    "v3-product-then-sum": "c2e1ad2c2e3e97c3",
    "v3-quotient-joined": "f3cf62194aac200b",
    "v3-quotient-multiplied": "57ca87f9a4af545d",
    "v3-quotient-summed": "020ee55048c47518",
    "v4-mixed": "3289c068263d9d4c",
    "v4-quantized-joined-coarse": "aba2ba6bb409ca68",
    "v4-quantized-joined-gain": "8a8f0e98fdba7804",
    "v4-quantized-joined-turned": "dba8bac6be540a24",
    "v4-quantized-joined": "6bd1043c861df069",
    "v4-quantized-scalar-1-bit": "94ec765e5fc4bb29",
    "v4-quantized-scalar-2-bit": "3ea6c2db32bacc2d",
    "v4-quantized-scalar-3-bit": "d7918cba9aa8fc70",
    "v4-quantized-summed-coarse": "e18d5ef1d9de6f8a",
    "v4-quantized-summed-short": "b2d5c8ea2888b47d",
    "v4-quantized-summed-gain": "0c0fecf3c7340a58",
    "v4-quantized-summed": "e6b6697aef3c9248",
    "v4-scaled-short": "8d5dc765dbaa3c91",
    "v4-sparse": "97512c4c47dddd45",
    "v4-tiered-four": "377a2f0f207c96b4",
    "v4-tiered-sorted": "bea58b85a21d336e",
    "v4-tiered-tiers": "8dd631604477c160",
    "v4-tiered-unsorted": "5de9dc580895de70",
}


def test_no_file_is_missing_and_all_are_small():
    assert sorted(ROWS) == GOLDEN
    assert all(file.stat().st_size < 4096 for file in HERE.glob("*.safetensors"))


@pytest.mark.parametrize("name", GOLDEN)
def test_it_opens_and_decodes_to_the_same_rows(name):
    opened = verify_artifact(HERE / f"{name}.safetensors")
    digest = hashlib.sha256()
    for table in sorted(opened.tables):
        packed = opened.tables[table]
        rows = decode(packed, np.arange(packed.num_embeddings))
        assert rows.tobytes() == plain_decode(packed).tobytes()
        digest.update(rows.tobytes())
    assert digest.hexdigest()[:16] == ROWS[name]


@pytest.mark.parametrize("name", GOLDEN)
def test_writing_it_again_gives_the_same_bytes(name, tmp_path):
    golden = HERE / f"{name}.safetensors"
    opened = verify_artifact(golden)
    write_artifact(
        tmp_path / "again",
        opened.tables,
        tensors=opened.tensors,
        vocabularies=opened.vocabularies,
        model=opened.model,
    )
    assert (tmp_path / "again").read_bytes() == golden.read_bytes()
