"""Every example runs as it stands and prints what it promises."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
PROMISES = {
    "compare_methods.py": r"mgqe\[codebook_sizes=\[32,8\]\](.*\n)*.*report: .*report\.html",
    "compress_ctr.py": r"uncompressed +AUC 0\.8(.*\n).*alike AUC 0\.7(.*\n).*cost +AUC 0\.(79|8)(.*\n){2}.*model: True",
    "compress_existing.py": r"item table 8\.0× smaller, scores correlate 0\.9[89]",
    "hourly_loop.py": r"(?s)hour 1: .*: publish\n.*: hold\nhour 3: .*: refuse\n.*: publish\n.* file: True\n.*\(2, 17\)",
    "next_item.py": r"hit rate at 10: 0\.[12].*\n.* at 5\d%(.*\n)*the same as from the trained model: True",
    "quickstart.py": r"table \d\.\d× smaller\n.*equal to the trained ones: True",
    "serve_lookup.py": r"means: \[\[3\.0, 4\.0, 5\.0\], \[9\.0,.*\nrefused: .*0\.\.3.*\n.*imported: False",
    "share_rows.py": r"share 2[12]\d rows(.*\n)*baco: 7[01]\d\d trained .* 0\.4\d\d\n.* the trained model: True",
}


def run(name: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / name],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("name", PROMISES)
def test_example_prints_what_it_promises(name: str, tmp_path: Path) -> None:
    assert re.search(PROMISES[name], run(name, tmp_path))
    assert list(tmp_path.iterdir()) == []  # it cleans up behind itself


def test_no_example_is_left_out() -> None:
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == sorted(PROMISES)
