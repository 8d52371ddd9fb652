from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from studies import BACO, MGQE
from studies.baco.experiments import FULL
from studies.cli import main
from tests.bench.samples import write_records
from tests.studies.baco_samples import record_of as baco_record_of
from tests.studies.baco_samples import write_sizes
from tests.studies.samples import record_of


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder with some runs of the paper's settings."""
    gmf = MGQE.of().panel("gmf")
    records = [record_of(gmf, "full", seed, 0.078 + seed / 1000, 4000) for seed in range(3)]
    records += [record_of(gmf, "mgqe", seed, 0.079 + seed / 1000) for seed in range(3)]
    return write_records(tmp_path / "mgqe", *records)


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main(["mgqe", *map(str, words)])
    return code, *capsys.readouterr()


def test_drawing_shows_tables_and_where_the_page_is(capsys: pytest.CaptureFixture[str], out: Path) -> None:
    code, shown, complaints = run(capsys, "--render", "--only", "table3", "--out", out)
    assert (code, complaints) == (0, "")
    assert re.search(r"^table3: \d+ runs are missing$", shown, re.MULTILINE)
    assert "7.90 ± 0.10" in shown
    assert "8.03" in shown
    assert "not run" in shown
    assert shown.rstrip().endswith(f"report: {out / 'report.html'}")
    assert (out / "table3.md").is_file()


def test_json_and_nothing_else(capsys: pytest.CaptureFixture[str], out: Path) -> None:
    code, shown, _ = run(capsys, "--render", "--only", "figure7", "--only", "table6", "--json", "--out", out)
    assert code == 0
    result = json.loads(shown)
    assert result["profile"] == "full"
    assert [item["item"] for item in result["items"]] == ["table6", "figure7"]


def test_help_has_examples_and_choices(capsys: pytest.CaptureFixture[str]) -> None:
    code, shown, _ = run(capsys, "--help")
    assert code == 0
    assert "python -m studies mgqe --quick" in shown.partition("Examples")[2]
    for flag in ("--only", "--quick", "--render", "--seeds", "--batch-size", "--workers"):
        assert flag in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "table9"], "no 'table9' to reproduce"),
        (["--batch-size", "gmf"], "--batch-size takes a number or WHICH=number, such as gmf=100"),
        (["--batch-size", "gmf=0"], "batch_size"),
        (["--epochs", "gmf=3"], "mgqe takes no --epochs"),
        (["--batch-size", "gfm=8"], "no experiment trains 'gfm'"),
        (["--seeds", "0"], "seeds"),
        (["--render", "--out", "{empty}"], "holds no finished run"),
        (["--quick", "--render", "--out", "{started}"], "started as a full reproduction"),
    ],
)
def test_bad_input_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, out: Path, words: list[str], message: str
) -> None:
    trained = {panel.name: panel.settings() for panel in MGQE.of().panels}
    (out / "reproduction.json").write_text(json.dumps({"profile": "full", "train": trained}))
    (tmp_path / "empty").mkdir()
    filled = [word.format(empty=tmp_path / "empty", started=out) for word in words]
    code, shown, complaint = run(capsys, *filled)
    assert (code, shown) == (2, "")
    assert re.fullmatch(r"error: [^\n]+\n", complaint)
    assert message.lower() in complaint.lower()
    assert not list((tmp_path / "empty").iterdir())


@pytest.fixture
def baco_out(tmp_path: Path) -> Path:
    """A folder with a run of the second paper, started with settings of its own."""
    study = BACO.of(changes={"beauty": {"learning_rate": 0.02}})
    trained = {"beauty": study.panel("beauty").train.to_dict()}
    folder = write_records(tmp_path / "baco", baco_record_of(study, FULL, 0, 0.076))
    (folder / "reproduction.json").write_text(json.dumps({"profile": "full", "train": trained, "seeds": None}))
    return write_sizes(folder)


def run_baco(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main(["baco", *map(str, words)])
    return code, *capsys.readouterr()


def test_baco_is_drawn_with_the_settings_of_its_folder(capsys: pytest.CaptureFixture[str], baco_out: Path) -> None:
    code, shown, complaints = run_baco(capsys, "--render", "--only", "beauty", "--out", baco_out)
    assert (code, complaints) == (0, "")
    assert "7.60" in shown
    assert "7.62" in shown
    assert "not run" in shown
    assert "--learning-rate beauty=0.02" in (baco_out / "README.md").read_text()
    same = ["--learning-rate", "beauty=0.02", "--json"]
    code, shown, _ = run_baco(capsys, "--render", "--only", "quartiles", "--out", baco_out, *same)
    assert [item["item"] for item in json.loads(shown)["items"]] == ["beauty", "quartiles"]


def test_help_of_baco_has_examples_and_choices(capsys: pytest.CaptureFixture[str]) -> None:
    code, shown, _ = run_baco(capsys, "--help")
    assert code == 0
    assert "python -m studies baco --quick" in shown.partition("Examples")[2]
    for flag in ("--only", "--quick", "--render", "--seeds", "--batch-size", "--learning-rate", "--device"):
        assert flag in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "table3"], "no 'table3' to reproduce"),
        (["--batch-size", "beauty=many"], "--batch-size takes a number or WHICH=number"),
        (["--batch-size", "0"], "batch_size"),
        (["--epochs", "yelp=3"], "no experiment trains 'yelp'"),
        (["--learning-rate", "nan"], "--learning-rate takes a number"),
        (["--render", "--out", "{empty}"], "holds no finished run"),
        (["--render", "--learning-rate", "0.5", "--out", "{started}"], "with other settings"),
    ],
)
def test_bad_input_for_baco_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, baco_out: Path, words: list[str], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    filled = [word.format(empty=tmp_path / "empty", started=baco_out) for word in words]
    if "--out" not in filled:
        filled += ["--out", str(tmp_path / "empty"), "--data-root", str(tmp_path)]
    code, shown, complaint = run_baco(capsys, *filled)
    assert (code, shown) == (2, "")
    assert re.fullmatch(r"error: [^\n]+\n", complaint)
    assert message.lower() in complaint.lower()
