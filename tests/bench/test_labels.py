from __future__ import annotations

import pytest

from slimtable.bench import label_of, parse_methods
from slimtable.embeddings.base import get_config, method_names
from slimtable.methods.dpq import DPQConfig
from slimtable.methods.full import FullConfig
from slimtable.methods.mgqe import MGQEConfig
from slimtable.methods.uniform import UniformConfig


def test_reads_a_list_of_methods() -> None:
    assert parse_methods("full, uniform[bits=4]; mgqe[codebook_sizes=[256,32];share_codebook=false]") == [
        FullConfig(),
        UniformConfig(bits=4),
        MGQEConfig(codebook_sizes=(256, 32), share_codebook=False),
    ]


def test_options_may_be_separated_by_commas_and_be_words() -> None:
    expected = [UniformConfig(bits=4, axis="row", scale_bits=16)]
    assert parse_methods('uniform[ bits = 4 , axis="row", scale_bits=16 ]') == expected
    assert parse_methods("uniform[bits=4;axis=row;scale_bits=16]") == expected
    assert parse_methods("dpq[]") == [DPQConfig()]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty entry"),
        ("full,,dpq", "empty entry"),
        ("dpq[num_codebooks=8", "do not match"),
        ("dpq]", "do not match"),
        ('uniform[axis="row]', "do not match"),
        ("dpq[num_codebooks=8]x", "continues after its options"),
        ("dpq[num_codebooks]", "is not option=value"),
        ("dpq[num_codebooks=8;num_codebooks=4]", "gives num_codebooks twice"),
        ("dpq[num_codebooks=8 4]", "neither JSON"),
        ("pdq", "no method 'pdq'.*dpq"),
        ("dpq[codebooks=8]", "no option codebooks.*num_codebooks"),
        ("uniform[bits=9]", "1 to 8, got 9"),
        ("full,full", "full is given twice"),
        ("mgqe,mgqe[codebook_sizes=[256,64]]", "mgqe is given twice"),
    ],
)
def test_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_methods(text)


def test_a_value_of_the_wrong_type_names_its_option() -> None:
    with pytest.raises(TypeError, match=r"UniformConfig\.bits.*'four'"):
        parse_methods("uniform[bits=four]")


def test_a_label_is_the_method_and_what_is_not_usual() -> None:
    assert label_of(MGQEConfig()) == "mgqe"
    assert label_of(MGQEConfig(codebook_sizes=(16, 4), share_codebook=False)) == (
        "mgqe[codebook_sizes=[16,4];share_codebook=false]"
    )


@pytest.mark.parametrize(
    "config", [UniformConfig(axis="row", scale_bits=16), MGQEConfig(codebook_sizes=(16, 4), init_std=0.5)]
)
def test_a_label_is_read_as_the_same_configuration(config: FullConfig) -> None:
    assert parse_methods(label_of(config)) == [config]


@pytest.mark.parametrize("name", method_names())
def test_every_method_has_its_name_as_label(name: str) -> None:
    assert label_of(get_config(name)) == name


def test_presets_make_labels_short_and_are_read_again() -> None:
    (config,) = parse_methods(
        "mgqe[codebook_sizes=[32,8,4];tier_fractions=[0.1,0.5,0.4];codebook_bits=16;dense_epochs=20]"
    )
    assert label_of(config) == "mgqe[preset=compact]"
    assert parse_methods("mgqe[preset=compact]") == [config]
    assert label_of(parse_methods("mgqe[preset=compact;dense_epochs=2]")[0]) == "mgqe[preset=compact;dense_epochs=2]"
