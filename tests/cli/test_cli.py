"""What the commands do when all is well."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from slimtable import TrainConfig, __version__, load_model, open_artifact
from slimtable.cli.options import parse_columns, parse_settings
from slimtable.cli.output import size
from slimtable.training.packing import restore_run
from tests.cli.commands import PROCESS, TRAIN, Command
from tests.extras import modules_of_extras

COMMANDS = ["demo", "train", "bench", "compress", "pack", "inspect", "verify", "lookup", "data"]


def test_version(must: Command) -> None:
    assert must("--version").out == f"slimtable {__version__}\n"


def test_no_command_shows_all_commands(must: Command) -> None:
    shown = must().out
    assert [name for name in COMMANDS if f" {name} " not in shown] == []


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "data"])
def test_help_of_a_command_has_an_example(must: Command, command: str) -> None:
    assert f"slimtable {command}" in must(command, "--help").out.partition("Examples")[2]


def test_train_has_a_flag_with_its_default_for_every_training_setting(
    must: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    shown = must("train", "--help").out
    for flag in ("--epochs", "--batch-size", "--learning-rate", "--negatives", "--embedding-dim", "--seed", "--device"):
        assert flag in shown
    assert "0.001" in shown  # the learning rate's
    assert "Passes over the training data" in shown


def test_help_states_the_defaults_of_every_model(must: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    for command in ("train", "bench"):
        lines = {line.split()[1]: line for line in must(command, "--help").out.splitlines() if " --" in line}
        for flag, own in {"--epochs": 200, "--batch-size": 128, "--negatives": 1, "--evaluate-every": 20}.items():
            assert re.search(rf"; {own} for [a-z, ]*sasrec", lines[flag])
        assert "for sasrec" not in lines["--learning-rate"]
        assert "those of its paper" in lines["--model"]


def test_training_settings_that_are_not_given_are_those_of_the_model(
    slimtable: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the given value is the usual default."""
    asked = []

    def trained(*arguments: object, **_: object) -> None:
        asked.append(arguments[3])
        raise ValueError("enough")

    monkeypatch.setattr(sys.modules[TrainConfig.__module__], "train", trained)
    words = ["train", "--data", "synthetic:1500", "--out", tmp_path / "run"]
    for more in ([], ["--model", "sasrec"], ["--model", "sasrec", "--epochs", 20, "--seed", 3, "--ks", 5]):
        assert slimtable(*words, *more).err == "error: enough\n"
    assert asked == [
        TrainConfig(),
        TrainConfig(epochs=200, batch_size=128, negatives=1, evaluate_every=20),
        TrainConfig(epochs=20, batch_size=128, negatives=1, evaluate_every=20, seed=3, ks=(5,)),
    ]


def test_train_takes_options_of_the_model(must: Command, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["--model", "neumf", "--model-set", "layers=[8,6,4]", "--method", "full", "--set", "init_std=0.1"]
    result = must("train", "--data", "synthetic:1500", *words, "--embedding-dim", 8, "--epochs", 1, "--batch-size", 512,
                  "--out", out, "--json").json  # fmt: skip
    assert result["backbone_config"] == {"layers": [8, 6, 4]}
    assert load_model(out / "model.safetensors").config.layers == (8, 6, 4)
    assert must("inspect", out / "model.safetensors", "--json").json["model"]["backbone_config"] == {
        "layers": [8, 6, 4]
    }


def test_train_sasrec_and_look_up_by_raw_id(must: Command, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["--model", "sasrec", "--model-set", "max_length=5", "--model-set", "num_blocks=1"]
    must("train", "--data", "synthetic:1500", *words, "--set", "codebook_sizes=[8,4]", "--embedding-dim", 8,
         "--epochs", 1, "--out", out)  # fmt: skip
    with open_artifact(out / "model.safetensors") as artifact:
        raw_id, row = artifact["item"].vocabulary[3], artifact["item"].lookup(3)
    found = must("lookup", out / "model.safetensors", "item", "--raw", raw_id, "--json").json
    assert found["rows"] == [{"id": str(raw_id), "row": row.tolist()}]


def test_bench_takes_options_of_the_model(must: Command, tmp_path: Path) -> None:
    words = ["bench", "--data", "synthetic:1500", "--methods", "full", "--seeds", 1, "--epochs", 1,
             "--embedding-dim", 8, "--model", "sasrec", "--model-set", "max_length=5", "--workers", 1,
             "--out", tmp_path]  # fmt: skip
    (record,) = must(*words, "--json").json
    assert record["backbone_config"] == {"max_length": 5}
    assert record["train"]["batch_size"] == 128


def test_bench_has_no_flag_for_a_single_seed(must: Command) -> None:
    words = must("bench", "--help").out.split()
    assert "--seeds" in words
    assert "--seed" not in words


def test_train_writes_what_it_prints(must: Command, trained: Path) -> None:
    result = json.loads((trained / "result.json").read_text())
    assert set(result["metrics"]) == {"none", "train", "train+valid"}
    assert result["method_config"]["codebook_sizes"] == [8, 4]
    assert result["train"]["epochs"] == result["epoch"] == 2
    assert result["bits"] < result["full_bits"]
    assert result["file_bytes"] == (trained / "model.safetensors").stat().st_size
    again = must(*TRAIN, "--epochs", 2, "--out", trained)
    assert f"{100 * result['metrics']['train']['hit_rate@10']:.2f}" in again.out


def test_the_packed_model_serves_what_was_trained(trained: Path) -> None:
    model = restore_run(trained).model
    with open_artifact(trained / "model.safetensors", verify=True) as artifact:
        for name, table in artifact.items():
            expected = model.embeddings()[name](torch.arange(table.num_embeddings))
            np.testing.assert_array_equal(table.weight(), expected.detach().numpy())


def test_pack_gives_the_model_that_was_tested(must: Command, tmp_path: Path) -> None:
    """With patience that is the best epoch's, as `train` tests and packs it; without, the last one's."""
    for patience, name in ((1, "patient"), (0, "not")):
        words = [*TRAIN, "--epochs", 6, "--learning-rate", 0.05, "--patience", patience, "--out", tmp_path / name]
        result = must(*words, "--json").json
        must("pack", tmp_path / name, "--out", tmp_path / f"{name}.safetensors")
        with open_artifact(tmp_path / f"{name}.safetensors") as artifact:
            assert artifact.model["epoch"] == result["epoch"] == (result["best_epoch"] if patience else 6)


def test_train_best_packs_the_best_epoch(must: Command, tmp_path: Path) -> None:
    words = [*TRAIN, "--epochs", 4, "--evaluate-every", 3, "--best", "--out", tmp_path / "run"]
    result = must(*words, "--json").json
    assert result["epoch"] == result["best_epoch"] == 3
    best = restore_run(tmp_path / "run", "best").model.embeddings()["item"].weight.numpy()
    with open_artifact(tmp_path / "run" / "model.safetensors") as artifact:
        np.testing.assert_array_equal(artifact["item"].weight(), best)


def test_train_on_a_table_with_named_columns(must: Command, tmp_path: Path) -> None:
    rows = [f"u{u},i{(3 * u + step) % 20},{step}" for u in range(30) for step in range(6)]
    data = tmp_path / "clicks.csv"
    data.write_text("visitor,film,when\n" + "\n".join(rows) + "\n")
    columns = ["--column", "user=visitor", "--column", "item=film", "--column", "time=when"]
    out = tmp_path / "run"
    must("train", "--data", data, *columns, "--method", "full", "--epochs", 1, "--embedding-dim", 4, "--out", out)
    looked_up = must("lookup", out / "model.safetensors", "user", "--raw", "u7", "--json").json
    with open_artifact(out / "model.safetensors") as artifact:
        expected = artifact["user"].lookup(artifact["user"].ids_of(["u7"]))[0]
    assert looked_up["rows"] == [{"id": "u7", "row": expected.tolist()}]


def test_bench_reports_every_method(must: Command, tmp_path: Path) -> None:
    words = ["bench", "--data", "synthetic:1500", "--methods", "full,uniform[bits=4]", "--seeds", 1, "--epochs", 1,
             "--embedding-dim", 8, "--batch-size", 512, "--workers", 1, "--out", tmp_path / "grid"]  # fmt: skip
    shown = must(*words).out
    assert "uniform[bits=4]" in shown
    assert str(tmp_path / "grid" / "report.html") in shown
    records = must(*words, "--json").json
    assert [record["label"] for record in records] == ["full", "uniform[bits=4]"]


def test_compress_states_sizes_and_error_exactly(must: Command, dense: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.safetensors"
    result = must("compress", dense, "--method", "uniform", "--set", "bits=4", "--out", out, "--json").json
    assert result["bits"] == 60 * 64 * 4 + 2 * 64 * 32
    assert result["compression_ratio"] == 60 * 64 * 32 / result["bits"]
    assert result["file_bytes"] == out.stat().st_size
    table = np.load(dense)
    with open_artifact(out) as artifact:
        error = np.mean((artifact["table"].weight() - table) ** 2, dtype=np.float64) / np.var(table, dtype=np.float64)
    assert result["relative_error"] == pytest.approx(error)
    assert 0 < error < 0.01


def test_compress_reads_torch_files_and_frequencies(must: Command, tmp_path: Path) -> None:
    table = torch.randn(40, 8)
    torch.save({"item.weight": table, "user.weight": torch.randn(9, 8)}, tmp_path / "model.pt")
    np.save(tmp_path / "counts.npy", np.arange(40))
    out = tmp_path / "items.safetensors"
    words = ["compress", tmp_path / "model.pt", "--name", "item.weight", "--method", "mgqe", "--set",
             "codebook_sizes=[40,2]", "--frequencies", tmp_path / "counts.npy", "--out", out]  # fmt: skip
    assert "40 × 8 by mgqe" in must(*words).out
    with open_artifact(out) as artifact:
        errors = ((artifact["table"].weight() - table.numpy()) ** 2).mean(axis=1)
    assert errors[-4:].mean() < errors[:-4].mean()  # the frequent tenth has many centroids


def test_only_force_replaces_a_file(
    slimtable: Command, must: Command, dense: Path, trained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.safetensors"
    for words in (["compress", dense, "--method", "uniform"], ["pack", trained]):
        out.write_text("mine")
        refused = slimtable(*words, "--out", out)
        assert refused.code == 2
        assert "--force" in refused.err
        assert out.read_text() == "mine"
        must(*words, "--out", out, "--force")
        must("verify", out)


def test_pack_with_and_without_raw_ids(must: Command, trained: Path, tmp_path: Path) -> None:
    with_ids, without = tmp_path / "with.safetensors", tmp_path / "without.safetensors"
    assert must("pack", trained, "--out", with_ids, "--json").json["tables"]["item"]["has_vocabulary"]
    packed = must("pack", trained, "--out", without, "--no-vocabulary", "--epoch", "best", "--json").json
    assert not packed["tables"]["item"]["has_vocabulary"]
    assert without.stat().st_size < with_ids.stat().st_size


def test_inspect_and_verify(must: Command, artifact: Path) -> None:
    shown = must("inspect", artifact).out
    assert "item" in shown
    assert "mgqe" in shown
    facts = must("inspect", artifact, "--json").json
    assert facts["file_bytes"] == artifact.stat().st_size
    assert facts["tensors"]["output.weight"] == {"shape": [1, 8], "dtype": "float32"}
    assert must("verify", artifact, "--json").json["verified"] is True
    assert f"{artifact.stat().st_size:,} bytes" in must("verify", artifact).out


def test_lookup_by_id_and_by_raw_id(must: Command, artifact: Path) -> None:
    with open_artifact(artifact) as opened:
        table = opened["item"]
        raw_id, row = table.vocabulary[5], table.lookup(5)
    by_id = must("lookup", artifact, "item", 5, 0, "--json").json
    assert by_id["rows"][0] == {"id": "5", "row": row.tolist()}
    assert len(by_id["rows"]) == 2
    assert must("lookup", artifact, "item", raw_id, "--raw", "--json").json["rows"][0]["row"] == row.tolist()
    assert must("lookup", artifact, "item", 5, "--limit-dims", 1).out == f"5: {row[0]:.5g} …\n"


def test_data_list_make_and_fetch(must: Command, tmp_path: Path) -> None:
    listed = must("data", "list", "--data-root", tmp_path, "--json").json
    assert {"synthetic", "ml-1m"} <= {entry["name"] for entry in listed}
    assert "can be fetched" in must("data", "list", "--data-root", tmp_path).out
    made = tmp_path / "clicks.txt"
    words = ["data", "make", made, "--interactions", 1000, "--format", "sasrec"]
    assert must(*words, "--json").json["bytes"] == made.stat().st_size
    first = made.read_bytes()
    must(*words, "--force")
    assert made.read_bytes() == first
    movietweetings = tmp_path / "movietweetings"
    movietweetings.mkdir()
    (movietweetings / "ratings.dat").write_text("1::2::3::4\n")
    assert must("data", "fetch", "movietweetings", "--data-root", tmp_path, "--json").json["folder"] == str(
        movietweetings
    )


def test_nothing_is_coloured_when_piped(must: Command, artifact: Path) -> None:
    assert "\x1b" not in must("inspect", artifact).out + must("data", "list").out


@pytest.mark.slow
def test_demo(must: Command, tmp_path: Path) -> None:
    result = must("demo", "--out", tmp_path, "--json").json
    card = result["card"]
    assert card["compression_ratio"] >= 10
    assert card["result"]["report"]["recall@20"]["share"] > 0.9
    assert Path(result["report"]).is_file()
    must("verify", result["packed"])


def test_base_install_inspects_verifies_looks_up_and_patches(artifact: Path, tmp_path: Path) -> None:
    """With every package of the extras out of reach."""
    script = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {sorted(modules_of_extras())}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
from slimtable.cli import main
path, delta, patched = {[str(artifact), str(tmp_path / "delta"), str(tmp_path / "patched")]!r}
for words in (["--help"], ["inspect", path], ["inspect", path, "--codes"], ["verify", path],
              ["lookup", path, "item", "0"], ["data", "list"],
              ["delta", path, path, "--out", delta], ["patch", path, delta, "--out", patched]):
    assert main(words) == 0, words
assert main(["compress", path, "--out", "none"]) == main(["train", "--help"]) == 2
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    hint = "error: this needs torch, which is not installed. Run: pip install 'slimtable[train]'"
    assert done.stderr.splitlines() == [hint, hint]


@pytest.mark.parametrize("words", [["--json"], []], ids=["json", "text"])
def test_a_closed_pipe_is_no_error_worth_a_word(artifact: Path, words: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as gone:
        command = [*PROCESS, "lookup", artifact, "item", "0", *words]
        done = subprocess.run(command, stdout=gone, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize(
    ("settings", "values"), [(None, {}), (["a=1", "b=x"], {"a": 1, "b": "x"}), (["a=b=c"], {"a": "b=c"})]
)
def test_settings_are_json_or_words(settings: list[str] | None, values: dict[str, object]) -> None:
    assert parse_settings(settings) == values


def test_columns_are_names_or_positions() -> None:
    assert parse_columns(["user=2", "item=film"]) == {"user": 2, "item": "film"}
    assert parse_columns(None) is None


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (2.5e15, "2,500.0 TB")]
)
def test_sizes(count: float, text: str) -> None:
    assert size(count) == text


def test_train_and_bench_take_click_models(must: Command, slimtable: Command, tmp_path: Path) -> None:
    words = ["--data", "synthetic-ctr:2000", "--model", "fm", "--embedding-dim", 4]
    out = tmp_path / "run"
    result = must("train", *words, "--method", "saec", "--budget", "30%", "--out", out, "--json").json
    assert result["table_bits"] <= 0.3 * result["full_table_bits"]
    assert result["metrics"]["clicks"]["rows"] == 200
    assert {"result.json", "model.safetensors", "log.jsonl", "checkpoint.pt"} <= {path.name for path in out.iterdir()}
    assert must("inspect", out / "model.safetensors", "--json").json["model"]["click_model"] == "fm"
    again = must("train", *words, "--method", "saec", "--budget", "30%", "--out", out, "--json").json
    assert again["metrics"] == result["metrics"]
    grid = ["--methods", "full,saec[budget=30%]", "--seeds", 1, "--workers", 1, "--out", tmp_path / "bench", "--json"]
    records = must("bench", *words, *grid).json
    assert [record["method"] for record in records] == ["full", "saec"]
    for bad, message in (
        (["--ks", 5], "--ks is not a training setting of fm"),
        (["--column", "user=x"], "--column is for interactions"),
        (["--budget", "101%"], "more than the float32 table"),
        (["--split", "fixed"], "temporal or random"),
    ):
        outcome = slimtable("train", *words, *bad, "--out", tmp_path / "bad")
        assert (outcome.code, message in outcome.err) == (2, True), outcome.err
        assert not (tmp_path / "bad").exists()


def test_repeated_rows_are_told_and_dropped(must: Command, slimtable: Command, tmp_path: Path) -> None:
    rows = [f"{user},{item},{item}" for user in range(30) for item in range(user % 3, user % 3 + 6) for _ in range(2)]
    data = tmp_path / "twice.csv"
    data.write_text("\n".join(["user,item,time", *rows]))
    words = [
        "train",
        "--data",
        data,
        "--model",
        "sasrec",
        "--embedding-dim",
        4,
        "--epochs",
        1,
        "--method",
        "full",
        "--json",
    ]
    told = slimtable(*words, "--out", tmp_path / "a")
    assert "180 of 360 rows repeat the user, item and time of another" in told.err
    clean = must(*words, "--deduplicate", "--out", tmp_path / "b").json
    assert sum(clean["interactions"].values()) == 180


def test_data_list_is_one_table_of_both_kinds(must: Command) -> None:
    kinds = {info["name"]: info["kind"] for info in must("data", "list", "--json").json}
    assert (kinds["ml-1m"], kinds["criteo"]) == ("interactions", "clicks")
    assert "kind" in must("data", "list").out


def test_files_with_other_separators_and_encodings_are_told_apart(
    must: Command, slimtable: Command, tmp_path: Path
) -> None:
    data = tmp_path / "rows.txt"
    data.write_text(
        "".join(f"{user} {item} {item % 5}\n" for user in range(20) for item in range(user % 4, user % 4 + 7))
    )
    words = ["train", "--data", data, "--embedding-dim", 4, "--epochs", 1, "--method", "full", "--split", "random"]
    outcome = slimtable(*words, "--out", tmp_path / "a")
    assert (outcome.code, "--column user=0 --column item=1" in outcome.err) == (2, True)
    columns = ["--column", "user=0", "--column", "item=1", "--column", "rating=2"]
    result = must(*words, *columns, "--out", tmp_path / "b", "--json").json
    assert sum(result["interactions"].values()) == 140
