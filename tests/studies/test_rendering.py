"""What is drawn from finished runs stays as it is: of the committed store, and of runs made by hand."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from slimtable.bench.labels import label_of
from slimtable.bench.results import identity_of
from slimtable.embeddings.base import method_of
from studies import BACO, MGQE, Saec, reproduce
from studies.baco.experiments import entry_of
from studies.study import Place, Study
from tests.bench.samples import write_records
from tests.studies.baco_samples import record_of as baco_record_of
from tests.studies.baco_samples import write_sizes
from tests.studies.samples import record_of

COMMITTED = Path(__file__).parents[2] / "docs" / "benchmarks" / "saec"
GOLDEN = Path(__file__).parent / "golden"
ITEMS = {
    MGQE: ("table3", "table5", "figure6", "figure7", "compact"),
    BACO: ("beauty", "equal_bytes", "quartiles", "sizes"),
}
COMMAND = re.compile(r"```sh\n.*?```", re.DOTALL)  # names the folder


def test_the_committed_store_of_saec_gives_the_committed_tables(tmp_path: Path) -> None:
    out = tmp_path / "saec"
    out.mkdir()
    for name in ("cells.jsonl", "reproduction.json"):
        shutil.copy(COMMITTED / name, out / name)
    reproduce(Saec, out, render=True)
    names = sorted(path.name for path in COMMITTED.iterdir() if path.suffix in (".md", ".csv"))
    assert len(names) == 2 * len(Saec.items) + 1
    for name in names:
        drawn, committed = ((folder / name).read_text() for folder in (out, COMMITTED))
        assert COMMAND.sub("", drawn) == COMMAND.sub("", committed), name


def records_of(study: Study[Any], out: Path) -> list[dict[str, Any]]:
    """A run of everything that is wanted but of every thirteenth row, with values by its label and seed."""
    found: dict[str, dict[str, Any]] = {}
    for item in ITEMS[type(study)]:
        for place, want in enumerate(study.items[item].wanted(Place(study, out))):
            for seed in want.configs if place % 13 != 12 else ():
                weight = sum(map(ord, f"{want.panel.name} {want.name}")) % 97
                value = 0.05 + weight / 2000 + seed * (1 + weight % 5) / 4000
                if isinstance(study, BACO):
                    record = baco_record_of(study, entry_of(want), seed, value, want.panel.name)
                    record["embedding_bits"] = record["trained_parameters"] * (1 + weight % 32)
                else:
                    full = method_of(want.config).method == "full"
                    bits = 60 * want.train.embedding_dim if full else 900 + weight
                    value *= 100 if want.panel.model_name == "item_gmf" else 1
                    record = record_of(want.panel, label_of(want.config), seed, value, bits)
                    record["full_bits"] = 60 * want.train.embedding_dim
                    record["size_percent"] = 100 * bits / record["full_bits"]
                    record["train"] = {k: v for k, v in want.train.to_dict().items() if k != "seed"}
                found.setdefault(identity_of(record), record)
    return list(found.values())


@pytest.mark.parametrize("paper", [MGQE, BACO], ids=lambda paper: paper.name)
def test_runs_made_by_hand_give_the_tables_that_they_gave(paper: type[Study[Any]], tmp_path: Path) -> None:
    study, out = paper.of(quick=True), write_sizes(tmp_path / paper.name)
    write_records(out, *records_of(study, out))
    reproduce(paper, out, study, only=ITEMS[paper], render=True)
    for golden in sorted((GOLDEN / paper.name).iterdir()):
        assert (out / golden.name).read_text() == golden.read_text(), golden.name
