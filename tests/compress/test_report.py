"""Report cards: figures as JSON, and one page that holds everything."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.image import imread

from slimtable.artifact import write_artifact
from slimtable.artifact.card import card_paths, read_card
from slimtable.compress import Candidate, Choice, Compressed, GuardFacts, Kept, compress_table
from slimtable.compress.report import report_card
from slimtable.compress.report_figures import draw_frontier
from slimtable.compress.report_page import headline, ledger_table, quality_table, readable, write_report_card
from slimtable.embeddings.base import get_config
from slimtable.errors import ArtifactError

RNG = np.random.default_rng(0)
TABLES = {
    "item": RNG.normal(size=(400, 8)).astype(np.float32),
    "user": RNG.normal(size=(250, 8)).astype(np.float32),
}
COUNTS = {"item": RNG.integers(0, 100, 400)}


@pytest.fixture
def artifact(tmp_path):
    packed = {
        "item": compress_table(TABLES["item"], get_config("dpq", {"num_codebooks": 4, "codebook_size": 32})),
        "user": compress_table(TABLES["user"], get_config("uniform", {"bits": 3})),
    }
    path = tmp_path / "both.safetensors"
    write_artifact(path, packed, vocabularies={"item": [f"item {i}" for i in range(400)]})
    return path


def _result() -> Compressed:
    def candidate(size: int, share: float, chosen: bool = False) -> Candidate:
        choices = {"item": Choice("dpq", {"num_codebooks": 4}, 4 * size), "user": Choice("uniform", {}, 4 * size)}
        return Candidate(choices, size, {"recall@20": Kept(share, share - 0.01, share + 0.01)}, "<why> & so", chosen)

    return Compressed(
        tables={},
        candidates=(candidate(1000, 0.9), candidate(2000, 0.97, chosen=True), Candidate({}, 4000)),
        reasons=("16x are 2,600 bytes <at most>",),
        guard=GuardFacts("task", ("recall@20",), 125, "Recall@20 on held-out items of 125 users"),
        ledger={},
        report={"recall@20": Kept(0.968, 0.95, 0.99)},
    )


class _Page(HTMLParser):
    """Tags that are open, images and references of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[bytes] = []
        self.references: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attributes) -> None:
        if tag not in ("meta", "img", "wbr"):
            self.open.append(tag)
        for name, value in attributes:
            if name in ("src", "href"):
                self.references.append(value)
                if value.startswith("data:image/png;base64,"):
                    self.images.append(base64.b64decode(value.partition(",")[2]))

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag


def test_a_card_and_its_page(artifact) -> None:
    card = report_card(artifact, TABLES, frequencies=COUNTS, asking={"item": "user"}, result=_result())
    json_path, page_path = write_report_card(card, artifact)
    assert (json_path, page_path) == card_paths(artifact)
    assert [path.name for path in (json_path, page_path)] == ["both.report.json", "both.report.html"]
    facts = json.loads(json_path.read_text())
    assert facts == {"headline": headline(card.facts), **card.facts}
    assert read_card(artifact, card.facts["digest"]) == facts
    assert read_card(artifact, "another") is None
    text = page_path.read_text()
    page = _Page()
    page.feed(text)
    assert page.open == []
    assert all(reference.startswith("data:") for reference in page.references)
    assert not re.search(r"<script|https?://|@import|url\(", text)
    assert len(page.images) == 4  # frontier, bytes, and a map per table
    for image in page.images:
        assert imread(io.BytesIO(image))[..., :3].std() > 0.02
    for words in ("Report card of both.safetensors", "Keeps 96.8&nbsp;% of recall@20", "&lt;at most&gt;", "chosen"):
        assert words in text
    assert "<why>" not in text
    assert "Code health of item" in text
    assert "Code health of user" not in text


def test_the_ledger_of_a_card_is_the_file(artifact) -> None:
    facts = report_card(artifact, TABLES, maps=False).facts
    assert facts["file_bytes"] == artifact.stat().st_size == sum(entry["bytes"] for entry in facts["ledger"])
    table = ledger_table(facts)
    assert {"codes", "codebooks", "gains and scales", "raw ids", "header"} <= {row[0] for row in table.rows}
    assert table.rows[-1][0] == "file"
    assert table.rows[-1][-2] == f"{artifact.stat().st_size:,}"


def test_figures_of_the_tables(artifact) -> None:
    facts = report_card(artifact, TABLES, frequencies=COUNTS, asking={"item": "user"}, maps=False).facts
    item, user = facts["tables"]["item"], facts["tables"]["user"]
    assert item["lists"]["asking"] == "user"
    assert set(item["lists"]["by_group"]) == {"head", "torso", "tail"}
    assert 0.3 < item["lists"]["kept"] < 1
    assert user["lists"] is None  # it asks
    assert 0 < user["relative_error"] < 0.1
    assert 0.5 < user["neighbours_kept"] < 1
    assert item["code_health"]["groups"][0]["codebooks"][0]["codebook_size"] == 32
    assert user["code_health"] == {"no_collision_rate": None, "groups": [], "warnings": []}
    assert item["compression_ratio"] * item["bits_per_dimension"] == pytest.approx(32)
    assert facts["result"] is None
    rows = dict(zip(quality_table(facts).columns, quality_table(facts).rows[1], strict=True))
    assert (rows["table"], rows["best rows kept"], rows["tail"]) == ("user 250 × 8", "–", "–")


def test_a_lossless_artifact_keeps_everything(tmp_path) -> None:
    path = tmp_path / "full.safetensors"
    write_artifact(path, {"item": compress_table(TABLES["item"], get_config("full"))})
    facts = report_card(path, {"item": TABLES["item"]}, maps=False).facts
    table = facts["tables"]["item"]
    assert (table["lists"]["kept"], table["neighbours_kept"], table["relative_error"]) == (1.0, 1.0, 0.0)
    assert "100.0 % of the 20 best rows of item stay the best" in headline(facts)


def test_the_same_card_twice(artifact) -> None:
    first, second = (report_card(artifact, TABLES, frequencies=COUNTS, maps=False).facts for _ in range(2))
    assert first == second


def test_only_some_tables_are_known(artifact) -> None:
    card = report_card(artifact, {"user": TABLES["user"]}, maps=False)
    assert "relative_error" not in card.facts["tables"]["item"]
    write_report_card(card, artifact)


def test_a_table_that_only_asks_need_not_be_in_the_file(tmp_path) -> None:
    path = tmp_path / "item.safetensors"
    write_artifact(path, {"item": compress_table(TABLES["item"], get_config("uniform"))})
    facts = report_card(path, TABLES, asking={"item": "user"}, maps=False).facts
    assert list(facts["tables"]) == ["item"]
    assert facts["tables"]["item"]["lists"]["kept"] > 0.9


@pytest.mark.parametrize(("largest", "label"), [(1200, "bytes"), (9000, "times smaller")])
def test_candidates_of_like_sizes_are_drawn_by_bytes(largest: int, label: str) -> None:
    kept = {"recall@20": Kept(0.9, 0.8, 1.0).to_dict()}
    candidates = [{"bytes": size, "kept": kept, "chosen": size > 1000} for size in (1000, largest)]
    figure = draw_frontier({"float32_bytes": 20_000, "result": {"candidates": candidates}})
    assert figure is not None
    (axes,) = figure.axes
    assert axes.get_xlabel().startswith(label)
    assert [text.get_text() for text in axes.texts] == ["1", "2, chosen"]
    low, high = axes.get_xlim()
    for size in (1000, largest):
        assert low < (size if label == "bytes" else 20_000 / size) < high


def test_a_card_without_judged_candidates_has_no_frontier(artifact) -> None:
    facts = report_card(artifact, TABLES, maps=False).facts
    assert draw_frontier({**facts, "result": {"candidates": [{"kept": {}}]}}) is None


def test_what_is_refused(artifact, tmp_path) -> None:
    for originals, options, words in (
        ({"other": TABLES["item"]}, {}, "It has: item, user"),
        ({"item": TABLES["user"]}, {}, "has shape"),
        (TABLES, {"frequencies": {"item": np.ones(3)}}, "shape"),
        (TABLES, {"frequencies": {"nobody": np.ones(3)}}, "frequencies names nobody"),
        (TABLES, {"asking": {"item": "nobody"}}, "both tables are needed"),
        (TABLES | {"q": np.ones((5, 3), np.float32)}, {"asking": {"item": "q"}}, "differ in width"),
        ({"item": np.where(TABLES["item"] > 3, np.nan, TABLES["item"])}, {}, "NaN"),
    ):
        with pytest.raises(ValueError, match=words):
            report_card(artifact, originals, maps=False, **options)
    (tmp_path / "no.safetensors").write_bytes(b"nothing of use")
    with pytest.raises(ArtifactError):
        report_card(tmp_path / "no.safetensors", TABLES)


def test_sizes_are_readable() -> None:
    assert [readable(count) for count in (0, 1000, 2_500_000, 7e15)] == ["0 bytes", "1.0 kB", "2.5 MB", "7,000.0 TB"]
