"""Forged files with quotients and products, the news of format version 3, with all checksums made right."""

from pathlib import Path

import numpy as np
import pytest

from slimtable.artifact import read_artifact
from slimtable.errors import ArtifactChecksumError, ArtifactError, ArtifactFormatError, ArtifactValueError
from tests.artifact.attacks.forgery import DELETE, HUGE, Forgery, apply

GOLDEN = Path(__file__).parent.parent / "golden"


def forge(name):
    return Forgery((GOLDEN / f"v3-{name}.safetensors").read_bytes())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "attack.safetensors"


TABLES = "manifest tables t layout_config tables"
TERMS = "manifest tables t layout_config terms"
# quotient-multiplied: tables of 7 × 6 and 5 × 6, a remainder by 7 times a quotient by 7; 30 ids
WRONG = {
    f"{TERMS} 0 multiply": [True],
    f"{TERMS} 1 multiply": [None, False, 1, 1.0, "true", [], {}, [True]],
    f"{TERMS} 1 divide": [True],
    f"{TERMS} 1 map": [{}, "divisor", 7, [7], {"divisor": 7, "a": 1}, {"divisor": 7, "head": 0}],
    f"{TERMS} 1 map divisor": [DELETE, None, 0, -7, 5, 1, 1 << 31, HUGE, 1 << 64, 7.0, "7", True],
    f"{TERMS} 1 column": [1, -1],
    f"{TERMS} 0 map": [{"divisor": 4}],
    f"{TABLES} 1 num_rows": [4, 6],
    "manifest tables t num_embeddings": [0, 36, 1 << 40, HUGE],
    "manifest format_version": [1, 2],
    "manifest min_reader": [1, 2],
}
CASES = [(where, value) for where, values in WRONG.items() for value in values]


@pytest.mark.parametrize(("where", "value"), CASES, ids=lambda case: "deleted" if case is DELETE else str(case)[:40])
def test_a_field_that_lies(where, value, path):
    forgery = forge("quotient-multiplied")
    apply(forgery, where, value)
    path.write_bytes(forgery.bytes())
    with pytest.raises(ArtifactError) as raised:
        read_artifact(path)
    assert not isinstance(raised.value, ArtifactChecksumError), "the digest of the forgery is right"
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["quotient-multiplied", "quotient-summed", "product-of-stored"])
def test_a_file_that_old_readers_could_not_serve_must_say_so(name, path):
    forgery = forge(name)
    forgery.manifest["min_reader"] = 2
    path.write_bytes(forgery.bytes())
    with pytest.raises(ArtifactFormatError, match="needs a reader of format 3, but `min_reader` says 2"):
        read_artifact(path)


def rows(*values):
    return np.array(values, "f4").repeat(-(-30 // len(values)))[:30].tobytes()


def test_products_that_overflow_are_refused(path):
    """A factor times 0 or times little must not overflow either: the factor itself is computed first."""
    forgery = forge("quotient-multiplied")
    forgery.replace("t/rows.0", np.full(42, 2e19, "f4").tobytes())
    forgery.replace("t/rows.1", rows(1e19))
    path.write_bytes(forgery.bytes())
    assert np.isfinite(read_artifact(path).tables["t"].arrays["rows.1"]).all()
    forgery.replace("t/rows.1", rows(1e19, -2e19))
    path.write_bytes(forgery.bytes())
    with pytest.raises(ArtifactValueError, match="the product of rows up to term 1 may overflow float32"):
        read_artifact(path)
    forgery.replace("t/rows.0", bytes(168))
    forgery.replace("t/rows.1", rows(2e38))
    apply(forgery, f"{TERMS} 1 weight", 2.0)
    path.write_bytes(forgery.bytes())
    with pytest.raises(ArtifactValueError, match="the product of rows up to term 1 may overflow float32"):
        read_artifact(path)
