"""Every snippet of the README works as it stands, and its links lead somewhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    found = re.findall(rf"```{language}\n(.*?)```", README, re.S)
    assert found, f"the README has no {language} block"
    return found


def run(command: list[str], folder: Path) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def python(block: str, folder: Path) -> str:
    return run([sys.executable, "-W", "error", "-c", block], folder)


def test_first_snippet_looks_rows_up(tmp_path) -> None:
    block = blocks("python")[0]
    printed = python(block, tmp_path)
    assert "(3, 64) (2, 64)" in printed
    claimed = re.search(r"# ([\d.]+)× smaller than float32", block).group(1)
    assert f"{claimed}× smaller" in printed


def test_second_snippet_compresses_a_ctr_model(tmp_path) -> None:
    ratio, full, small = map(float, python(blocks("python")[1], tmp_path).split())
    claimed = re.search(
        r"the compression ratio, ([\d.]+), and the AUC of both models, here ([\d.]+) and ([\d.]+)", README
    )
    told, *aucs = map(float, claimed.groups())
    assert ratio == pytest.approx(told, abs=0.3)  # the model is drawn anew each time
    assert [full, small] == pytest.approx(aucs, abs=0.03)
    assert (tmp_path / "ctr.safetensors").is_file()


def test_no_snippet_is_left_out() -> None:
    assert len(blocks("python")) == 2


def test_commands(tmp_path) -> None:
    (tmp_path / "examples").mkdir()
    shutil.copy(ROOT / "examples/pipeline.yaml", tmp_path / "examples")
    for block in blocks("bash"):
        run(["bash", "-euc", block], tmp_path)
    assert (tmp_path / "runs/bench/report.html").is_file()
    runs = tmp_path / "runs"
    assert (runs / "patched.safetensors").read_bytes() == (runs / "mgqe/model.safetensors").read_bytes()
    assert (tmp_path / "examples/runs/hourly/published/current/model.safetensors").is_file()
    assert (tmp_path / "examples/runs/hourly/report.html").is_file()


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", "".join(blocks("console")), re.M):
        assert re.search(rf"^{target}:", makefile, re.M), target


PAGES = [page for page in ROOT.rglob("*.md") if not {".venv", "runs", "golden"} & set(page.relative_to(ROOT).parts)]


@pytest.mark.parametrize("page", sorted(PAGES), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target
