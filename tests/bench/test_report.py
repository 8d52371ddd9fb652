from __future__ import annotations

import base64
import re
import struct
from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib.transforms import Bbox
from rich.console import Console

from slimtable.bench import BenchResult, console_table, render
from slimtable.bench.plots import free_box
from slimtable.errors import SlimtableError
from tests.bench.samples import make_record, write_records

METHODS = {"full": 4000, "uniform": 1010, "dpq[num_codebooks=8]": 1000, "mgqe[codebook_sizes=[16,4]]": 990}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> BenchResult:
    records = [make_record(m, seed, 0.1 + seed / 100, bits) for m, bits in METHODS.items() for seed in (0, 1)]
    return render(write_records(tmp_path_factory.mktemp("bench"), *records))


class _Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_html_needs_nothing_from_elsewhere(result: BenchResult) -> None:
    page = result.report.read_text()
    tags = _Tags(page)
    assert not {tag for tag, _ in tags.found} & {"script", "link", "iframe", "object", "a"}
    sources = [attributes["src"] for tag, attributes in tags.found if tag == "img"]
    assert len(sources) == 2
    for source, file in zip(sources, (result.plot, result.curves), strict=True):
        assert source is not None
        assert file is not None
        assert base64.b64decode(source.removeprefix("data:image/png;base64,")) == file.read_bytes()
    assert not re.search(r"https?://|url\(|@import", page)


def test_every_report_names_every_method_and_figure(result: BenchResult) -> None:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(console_table(result))
    page = _Tags(result.report.read_text()).text
    for text in (page, result.markdown.read_text(), capture.get()):
        for label, bits in METHODS.items():
            assert label in text
            assert f"{100 * bits / 4000:.2f}" in text
        assert "10.50 ± 0.71" in text


def test_markdown_has_whole_tables_and_the_command(result: BenchResult) -> None:
    text = result.markdown.read_text()
    widths = [line.count("|") for line in text.splitlines() if line.startswith("|")]
    assert len(widths) == 3 * (2 + len(METHODS))
    assert widths[0] == 9  # eight columns
    assert f"--out {result.report.parent.name}" in text
    assert str(result.report.parent.parent) not in text


def test_what_is_in_a_label_is_text_in_html(tmp_path: Path) -> None:
    record = make_record("full", 0, 0.1, data="<script>alert(1)</script>")
    page = render(write_records(tmp_path, record)).report.read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_plots_are_images(result: BenchResult) -> None:
    for path in (result.plot, result.curves):
        assert path is not None
        content = path.read_bytes()
        assert content.startswith(b"\x89PNG")
        assert struct.unpack(">II", content[16:24]) == (1280, 800)


def test_labels_of_crowded_points_do_not_collide() -> None:
    frame = Bbox.from_extents(0, 0, 1000, 600)
    taken: list[Bbox] = []
    for place in range(12):
        box = free_box(500 + place, 300, 120, 24, frame, taken)
        assert not any(box.overlaps(other) for other in taken)
        assert frame.containsx(box.x0)
        assert frame.containsx(box.x1)
        taken.append(box)


def test_rendering_again_gives_the_same_and_removes_what_is_no_more(tmp_path: Path) -> None:
    record = make_record("full", 0, 0.1)
    first = render(write_records(tmp_path, record))
    assert first.curves is not None
    before = first.report.read_bytes()
    assert render(tmp_path).report.read_bytes() == before
    assert render(write_records(tmp_path, {**record, "curve": []})).curves is None
    assert not first.curves.exists()


def test_settings_that_cannot_be_compared_get_tables_of_their_own(tmp_path: Path) -> None:
    records = [make_record("full", 0, 0.1), make_record("full", 0, 0.2, data="beauty")]
    result = render(write_records(tmp_path, *records))
    assert [row.last["train"]["hit_rate@10"].mean for row in result.table] == pytest.approx([10.0, 20.0])
    for text in (result.markdown.read_text(), result.report.read_text()):
        assert "gmf on ml-1m" in text
        assert "gmf on beauty" in text


def test_nothing_is_written_without_results(tmp_path: Path) -> None:
    with pytest.raises(SlimtableError, match="no finished run"):
        render(tmp_path)
    assert list(tmp_path.iterdir()) == []
