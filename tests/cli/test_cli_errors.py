"""Whatever goes wrong: exit code 2, one line that says what to do, and nothing written."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from slimtable import Uniform, UniformConfig, write_artifact
from slimtable.artifact.packed import Packed
from slimtable.cli import main
from tests.cli.commands import TRAIN, Command


def files(folder: Path) -> dict[str, int]:
    """Everything in a folder, with sizes."""
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*")}


@pytest.fixture
def refused(slimtable: Command, tmp_path: Path) -> Command:
    """Run a command that has to fail with one line, writing nothing; gives that line."""

    def run(*words: object) -> str:
        before = files(tmp_path)
        outcome = slimtable(*words)
        assert outcome.code == 2
        assert outcome.out == ""
        assert re.fullmatch(r"error: [^\n]+\n", outcome.err)
        assert files(tmp_path) == before
        return outcome.err

    return run


# Artifacts that cannot be trusted.

READERS = {"inspect": [], "verify": [], "lookup": ["item", "0"]}


def cut_short(path: Path) -> str:
    path.write_bytes(path.read_bytes()[:-1])
    return "claim|bytes|cut short|short"


def cut_in_the_header(path: Path) -> str:
    path.write_bytes(path.read_bytes()[:100])
    return "cut short or damaged"


def flipped_in_the_header(path: Path) -> str:
    content = bytearray(path.read_bytes())
    content[content.index(b"num_embeddings") + 20] ^= 1
    path.write_bytes(content)
    return "."


def a_pickle(path: Path) -> str:
    path.write_bytes(pickle.dumps({"item": [1.0, 2.0]}))
    return "pickle"


def a_torch_file(path: Path) -> str:
    torch.save({"item": torch.zeros(3)}, path)
    return "PyTorch or zip file"


def an_empty_file(path: Path) -> str:
    path.write_bytes(b"")
    return "empty"


def plain_safetensors(path: Path) -> str:
    save_file({"item": np.zeros((3, 2), np.float32)}, path)
    return "."


def a_missing_file(path: Path) -> str:
    path.unlink()
    return "no such artifact"


def a_folder(path: Path) -> str:
    path.unlink()
    path.mkdir()
    return "folder"


DAMAGES = [
    cut_short,
    cut_in_the_header,
    flipped_in_the_header,
    a_pickle,
    a_torch_file,
    an_empty_file,
    plain_safetensors,
    a_missing_file,
    a_folder,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("command", READERS)
def test_damaged_artifact(refused: Command, artifact: Path, command: str, damage) -> None:
    reason = damage(artifact)
    line = refused(command, artifact, *READERS[command])
    assert re.search(reason, line)
    assert str(artifact) in line


@pytest.mark.parametrize("command", READERS)
def test_a_flipped_bit_in_the_data_is_never_served(refused: Command, artifact: Path, command: str) -> None:
    content = bytearray(artifact.read_bytes())
    content[-5] ^= 4
    artifact.write_bytes(content)
    assert "SHA-256" in refused(command, artifact, *READERS[command])


def forged(path: Path, packed: Packed) -> None:
    """Write a table that no writer would, with every checksum right."""
    import slimtable.artifact.file as artifact_file

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(artifact_file.layouts, "validate", lambda packed: None)
        write_artifact(path, {"item": packed})


@pytest.mark.parametrize("command", READERS)
def test_code_out_of_range(refused: Command, tmp_path: Path, command: str) -> None:
    codes = np.full(4, 255, np.uint8)  # K = 200 in codes of 8 bits
    layout_config = {
        "tiers": [{"num_rows": 4, "num_codebooks": 1, "codebook_size": 200, "codebook": 0}],
        "share_subspaces": False,
    }
    arrays = {"codes.0": codes, "codebook.0": np.zeros((1, 200, 2), np.float32)}
    forged(tmp_path / "forged", Packed("coded", 4, 2, arrays, layout_config))
    assert "code" in refused(command, tmp_path / "forged", *READERS[command])


@pytest.mark.parametrize("command", READERS)
def test_wrong_shape(refused: Command, tmp_path: Path, command: str) -> None:
    forged(tmp_path / "forged", Packed("dense", 4, 3, {"table": np.zeros((4, 2), np.float32)}))
    assert "(4, 3)" in refused(command, tmp_path / "forged", *READERS[command])


# Lookups.


@pytest.mark.parametrize("id_", ["400", "-1", "99999999999", "99999999999999999999"])
def test_id_out_of_range(refused: Command, artifact: Path, id_: str) -> None:
    line = refused("lookup", artifact, "item", "0", id_)
    assert id_ in line
    assert "0..399" in line


@pytest.mark.parametrize("id_", ["x", "1.5", "9" * 5000])
def test_id_that_is_no_whole_number(refused: Command, artifact: Path, id_: str) -> None:
    refused("lookup", artifact, "item", id_)


def test_raw_id_that_is_unknown(refused: Command, artifact: Path) -> None:
    assert "no raw id" in refused("lookup", artifact, "item", "--raw", "123456")


def test_raw_id_without_a_vocabulary(refused: Command, slimtable: Command, trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "bare.safetensors"
    assert slimtable("pack", trained, "--out", path, "--no-vocabulary").code == 0
    assert "no vocabulary" in refused("lookup", path, "item", "--raw", "3")


def test_table_that_is_not_there(refused: Command, artifact: Path) -> None:
    assert "Its tables: item, user" in refused("lookup", artifact, "film", "0")


# Training and benches.


def test_unknown_method_lists_the_known_ones(refused: Command, tmp_path: Path) -> None:
    out = ["--out", tmp_path / "run"]
    for line in (
        refused("train", "--data", "synthetic:1500", "--method", "dqp", *out),
        refused("bench", "--data", "synthetic:1500", "--methods", "full,dqp", *out),
    ):
        assert "'dqp'" in line
        assert "cce, double_graph_hash, double_hash, dpq, full, hybrid_hash, legcf" in line


def test_unknown_option_lists_the_known_ones(refused: Command, tmp_path: Path) -> None:
    line = refused("train", "--data", "synthetic:1500", "--set", "codebooks=3", "--out", tmp_path / "run")
    assert "no option codebooks" in line
    assert "codebook_sizes" in line


@pytest.mark.parametrize(
    ("setting", "reason"),
    [("codebook_sizes", "OPTION=VALUE"), ("=3", "OPTION=VALUE"), ("init_std=many", "must be a number, got 'many'")],
)
def test_setting_of_the_wrong_form(refused: Command, tmp_path: Path, setting: str, reason: str) -> None:
    assert reason in refused("train", "--data", "synthetic:1500", "--set", setting, "--out", tmp_path / "run")


def test_setting_given_twice(refused: Command, tmp_path: Path) -> None:
    settings = ["--set", "init_std=0.1", "--set", "init_std=0.2"]
    assert "given twice" in refused("train", "--data", "synthetic:1500", *settings, "--out", tmp_path / "run")


@pytest.mark.parametrize("command", ["train", "bench"])
def test_unknown_dataset_lists_the_known_ones(refused: Command, tmp_path: Path, command: str) -> None:
    line = refused(command, "--data", "ml-1n", "--out", tmp_path / "run")
    assert "Did you mean 'ml-1m'?" in line
    assert "movietweetings" in line


@pytest.mark.parametrize("command", ["train", "bench"])
def test_unknown_model_or_split(refused: Command, tmp_path: Path, command: str) -> None:
    words = [command, "--data", "synthetic:1500", "--out", tmp_path / "run"]
    assert "gmf" in refused(*words, "--model", "nope")
    assert "leave-two-out" in refused(*words, "--split", "nope")


@pytest.mark.parametrize("command", ["train", "bench"])
def test_options_of_the_model_that_are_wrong(refused: Command, tmp_path: Path, command: str) -> None:
    words = [command, "--data", "synthetic:1500", "--out", tmp_path / "run", "--model", "neumf", "--model-set"]
    assert "--model-set takes OPTION=VALUE" in refused(*words, "layers")
    assert "NeuMFConfig has no option layer. Its options: layers" in refused(*words, "layer=[4,2]")
    assert "at least one hidden layer" in refused(*words, "layers=[4]")
    assert "must be a list of an integer" in refused(*words, "layers=many")
    assert "--model-set layers is given twice" in refused(*words, "layers=[4,2]", "--model-set", "layers=[4,2]")


def test_sequences_of_data_without_order(refused: Command, tmp_path: Path) -> None:
    data = tmp_path / "clicks.csv"
    data.write_text("user,item\n" + "".join(f"{u},{(u + i) % 9}\n" for u in range(20) for i in range(6)))
    words = ["train", "--data", data, "--model", "sasrec", "--out", tmp_path / "run"]
    assert "not in time order" in refused(*words)
    assert "not in time order. Use data with times, or another model." in refused(*words, "--split", "random")


def test_unknown_column_lists_the_columns(refused: Command, tmp_path: Path) -> None:
    data = tmp_path / "clicks.csv"
    data.write_text("visitor,film\na,b\n")
    words = ["train", "--data", data, "--out", tmp_path / "run"]
    for line in (refused(*words), refused(*words, "--column", "user=guest", "--column", "item=film")):
        assert "visitor, film" in line.replace("'", "")
    assert "ROLE=NAME" in refused(*words, "--column", "user")
    assert "two roles" in refused(*words, "--column", "user=film", "--column", "item=film")


def test_column_of_a_named_dataset(refused: Command, tmp_path: Path) -> None:
    refused("train", "--data", "synthetic:1500", "--column", "user=guest", "--out", tmp_path / "run")


@pytest.mark.parametrize("content", ["", "user,item\n"])
def test_empty_data(refused: Command, tmp_path: Path, content: str) -> None:
    (tmp_path / "empty.csv").write_text(content)
    for command in ("train", "bench"):
        refused(command, "--data", tmp_path / "empty.csv", "--out", tmp_path / "run")


def test_data_with_nothing_to_test(refused: Command, tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("1 1\n2 2\n3 1\n")
    line = refused("train", "--data", tmp_path / "short.txt", "--out", tmp_path / "run")
    assert "nothing to test" in line


def test_codebooks_that_do_not_divide_the_dimension(refused: Command, dense: Path, tmp_path: Path) -> None:
    wanted = "must divide embedding_dim=64, got 7. Use 1, 2, 4, 8, 16, 32 or 64."
    for method in ("dpq", "mgqe"):
        words = ["--method", method, "--set", "num_codebooks=7", "--out", tmp_path / "out"]
        assert wanted in refused("train", "--data", "synthetic:1500", *words)
        assert wanted in refused("compress", dense, *words)
    assert wanted in refused("bench", "--data", "synthetic:1500", "--methods", "dpq[num_codebooks=7]", "--out",
                             tmp_path / "out")  # fmt: skip


@pytest.mark.parametrize("flag", [("--epochs", 0), ("--learning-rate", -1), ("--seed", -1), ("--ks", 0)])
def test_training_setting_out_of_range(refused: Command, tmp_path: Path, flag: tuple[str, int]) -> None:
    assert "TrainConfig" in refused(*TRAIN, *flag, "--out", tmp_path / "run")


@pytest.mark.parametrize("device", ["abacus", "cuda:99"])
def test_device_that_is_not_there(refused: Command, tmp_path: Path, device: str) -> None:
    assert f"--device {device} cannot be used here. Use cpu" in refused(
        *TRAIN, "--device", device, "--out", tmp_path / "run"
    )


def test_best_without_validation(refused: Command, tmp_path: Path) -> None:
    assert "--best" in refused(*TRAIN, "--best", "--evaluate-every", 0, "--out", tmp_path / "run")


def test_folder_of_another_run(refused: Command, trained: Path) -> None:
    before = files(trained)
    assert "other settings" in refused(*TRAIN, "--epochs", 2, "--seed", 5, "--out", trained)
    assert files(trained) == before


# Compressing and packing.


def test_nan_in_a_table(refused: Command, tmp_path: Path) -> None:
    table = np.zeros((5, 4), np.float32)
    table[3, 1] = np.nan
    np.save(tmp_path / "nan.npy", table)
    line = refused("compress", tmp_path / "nan.npy", "--out", tmp_path / "out.safetensors")
    assert "NaN" in line
    assert "row 3" in line


@pytest.mark.parametrize(
    "words",
    [
        ["--set", "bits=9"],
        ["--set", "bitz=4"],
        ["--method", "nope"],
        ["--padding-idx", "60"],
        ["--padding-idx", "0"],  # its row is not zeros
        ["--name", "other"],
        ["--frequencies", "absent.npy"],
    ],
    ids=" ".join,
)
def test_compress_with_a_wrong_option(refused: Command, dense: Path, tmp_path: Path, words: list[str]) -> None:
    if "other" in words:
        save_file({"a": np.zeros((2, 2), np.float32), "b": np.zeros((2, 2), np.float32)}, dense)
    refused("compress", dense, *words, "--out", tmp_path / "out.safetensors")


@pytest.mark.parametrize(
    "counts",
    [np.arange(59), np.zeros((60, 2), np.int64), np.full(60, np.nan), np.array([{}] * 60, dtype=object)],
    ids=["short", "matrix", "float", "pickle"],
)
def test_frequencies_that_do_not_fit(refused: Command, dense: Path, tmp_path: Path, counts: np.ndarray) -> None:
    np.save(tmp_path / "counts.npy", counts, allow_pickle=True)
    words = ["--method", "mgqe", "--frequencies", tmp_path / "counts.npy", "--out", tmp_path / "out"]
    refused("compress", dense, *words)


def test_table_files_that_hold_no_table(refused: Command, tmp_path: Path) -> None:
    path, out = tmp_path / "table", tmp_path / "out.safetensors"
    refused("compress", path, "--out", out)
    contents = [b"", b"\x93NUMPY\x01\x00", pickle.dumps([1.0]), b"\x10\x00\x00\x00\x00\x00\x00\x00{]", b"PK\x03\x04"]
    for content in contents:
        path.write_bytes(content)
        refused("compress", path, "--out", out)
    torch.save(Uniform(3, 2, UniformConfig()), path)  # a whole module, not tensors
    refused("compress", path, "--out", out)
    np.save(tmp_path / "line.npy", np.zeros(5, np.float32))
    refused("compress", tmp_path / "line.npy", "--out", out)


def test_output_folder_that_is_not_there(refused: Command, dense: Path, trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "absent" / "out.safetensors"
    assert "absent" in refused("compress", dense, "--out", out)
    assert "absent" in refused("pack", trained, "--out", out)


def test_pack_of_what_is_no_run(refused: Command, trained: Path, tmp_path: Path) -> None:
    assert "run.json" in refused("pack", tmp_path, "--out", tmp_path / "out")
    for name in ("run.json", "vocabularies.npz"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    (tmp_path / "checkpoint.pt").write_bytes((trained / "checkpoint.pt").read_bytes()[:999])
    assert "damaged" in refused("pack", tmp_path, "--out", tmp_path / "out")


# Data.


def test_data_commands(refused: Command, tmp_path: Path) -> None:
    assert "Known: synthetic" in refused("data", "fetch", "nope", "--data-root", tmp_path)
    assert "1,000" in refused("data", "make", tmp_path / "few.parquet", "--interactions", 10)
    assert "parquet" in refused("data", "make", tmp_path / "made", "--format", "xlsx")
    (tmp_path / "mine").write_text("precious")
    assert "--force" in refused("data", "make", tmp_path / "mine", "--interactions", 1000)


# Wrong usage and surprises.


@pytest.mark.parametrize(
    "words",
    [
        ["nope"],
        ["--nope"],
        ["data"],
        ["inspect"],
        ["train", "--nope"],
        ["train", "--epochs", "many"],
        ["lookup", "f", "t"],
    ],
    ids=" ".join,
)
def test_wrong_usage_names_the_help(refused: Command, words: list[str]) -> None:
    assert "--help`." in refused(*words)


def test_a_surprise_is_one_line_and_a_traceback_when_debugging(
    refused: Command, artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("first\nsecond")

    monkeypatch.setattr("slimtable.cli.tables.open_artifact", broken)
    line = refused("inspect", artifact)
    assert "unexpected KeyError" in line
    assert "SLIMTABLE_DEBUG=1" in line
    monkeypatch.setenv("SLIMTABLE_DEBUG", "1")
    with pytest.raises(KeyError):
        main(["inspect", str(artifact)])
