"""Vocabularies of texts that lie side by side: the same arrays as from lists, and the same refusals."""

from __future__ import annotations

import numpy as np
import pytest

from slimtable.artifact.vocabulary import STRING_BYTES, STRING_OFFSETS, Strings, encode
from slimtable.training.packing import with_padding

TEXTS = ["two", "", "ä\0", "четыре", "2", "two "]


def test_texts_side_by_side_give_the_arrays_of_a_list() -> None:
    offsets = np.cumsum([0, *(len(text.encode()) for text in TEXTS)])
    arrays = encode(Strings(np.frombuffer("".join(TEXTS).encode(), np.uint8), offsets), len(TEXTS))
    assert arrays[STRING_BYTES].tobytes() == "".join(TEXTS).encode()
    assert arrays[STRING_OFFSETS].tolist() == [0, 3, 3, 6, 18, 19, 23]
    for name, array in encode(TEXTS, len(TEXTS)).items():
        np.testing.assert_array_equal(array, arrays[name])


def test_a_part_of_them_is_what_it_would_be_alone() -> None:
    whole = Strings.from_texts(TEXTS)
    part = encode(Strings(whole.data, whole.offsets[2:5]), 2)
    assert part[STRING_BYTES].tobytes() == "ä\0четыре".encode()
    assert part[STRING_OFFSETS].tolist() == [0, 3, 15]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["a", "b", "c", "b", "a"], "'a' occurs twice"),
        (["a", "", "b", ""], "'' occurs twice"),
        (["a"], r"for each of the 2 rows, got shape \(1,\)"),
    ],
)
def test_what_is_refused_in_a_list_is_refused_here(texts: list[str], message: str) -> None:
    for given in (texts, Strings.from_texts(texts)):
        with pytest.raises(ValueError, match=message):
            encode(given, max(2, len(texts)))


@pytest.mark.parametrize(("data", "offsets"), [("aäb".encode(), [0, 2, 3, 4]), (b"a\xffb", [0, 1, 2, 3])])
def test_bytes_that_are_no_text_are_refused(data: bytes, offsets: list[int]) -> None:
    """A string that ends within a character is none, even if all of them together are text."""
    with pytest.raises(ValueError, match="string 1 of a vocabulary is not valid UTF-8"):
        encode(Strings(np.frombuffer(data, np.uint8), np.array(offsets)), 3)


def test_many_texts_are_told_apart() -> None:
    texts = [f"value {number}" for number in range(50_000)]
    assert list(Strings(**dict(zip(("data", "offsets"), encode(texts, 50_000).values(), strict=True)))) == texts
    texts[40_000] = "value 123"
    with pytest.raises(ValueError, match="'value 123' occurs twice"):
        encode(Strings.from_texts(texts), 50_000)


@pytest.mark.parametrize("row", [0, 2, 6])
@pytest.mark.parametrize("taken", [[], ["<oov>"], ["<oov>", "<oov>_"]])
def test_a_text_for_a_row_that_is_nobodys(row: int, taken: list[str]) -> None:
    texts = [*TEXTS, *taken]
    by_list = with_padding(np.array(texts, dtype=object), row, "<oov>")
    assert list(with_padding(Strings.from_texts(texts), row, "<oov>")) == list(by_list)
    assert by_list[row] == "<oov>" + "_" * len(taken)
