"""Each item of the comparison of codecs as text, numbers and picture, made from the finished cells."""

from __future__ import annotations

from slimtable.reporting.tables import Table
from studies.captions import Captions
from studies.codecs.cells import UNCOMPRESSED_FIGURES, read_cells
from studies.codecs.experiments import CONSTANT_BITS, SIDES, CellItem, Panel
from studies.codecs.figures import draw_kept
from studies.codecs.tables import (
    TARGETS,
    below_four_bits,
    kept_table,
    margin_table,
    numbers,
    targets_table,
)
from studies.kept import read_kept
from studies.study import Content, Item, Place

CAPTIONS = Captions.beside(__file__)
NOTES = {name: text.format(constant=CONSTANT_BITS // 8) for name, text in CAPTIONS.notes.items()}


def targets(item: Item[Panel], place: Place[Panel]) -> Content:
    """What was wanted of the codecs, and what was reached."""
    cells, panels = read_cells(place.out), item.panels_of(place.study)
    tables = [targets_table(cells, panels, side) for side in SIDES if TARGETS[side]]
    notes = [NOTES["targets"]]
    for panel in panels:
        compared, better, worse = below_four_bits(cells, panel, place.out)
        notes.append(
            f"{panel.title}: of {compared} budgets below four bits a dimension where all of faiss was measured, the "
            f"best of ours is better than the best of faiss in {better}, worse in {worse} and undecided in the others."
        )
    return Content(notes, tables, [])


def compared(item: Item[Panel], place: Place[Panel]) -> Content:
    """Every codec at every rate on the tables of one model."""
    assert isinstance(item, CellItem)
    cells = read_cells(place.out)
    tables: list[Table] = []
    notes: list[str] = []
    lines, picture = [], None
    for panel in item.panels_of(place.study):  # a quick version has few of them
        for side in panel.sides:
            if any(key[:2] == (panel.name, side) for key in cells):
                tables += [kept_table(cells, panel, side, metric) for metric in ("recall", "ndcg")]
                tables.append(margin_table(cells, panel, side, place.out))
        notes += [_uncompressed(panel, place), NOTES["reading"], *filter(None, [NOTES.get(panel.model_name)])]
        lines, picture = numbers(cells, panel), draw_kept(cells, panel)
    wanted = item.cells(place.study)
    if missing := sum(cell.key not in cells for cell in wanted):
        notes.append(f"{missing} of {len(wanted)} cells are not measured yet.")
    if not wanted:
        notes.append("This is not in the quick version.")
    return Content(notes, tables, lines, picture)


def _uncompressed(panel: Panel, place: Place[Panel]) -> str:
    figures = read_kept(place.out / UNCOMPRESSED_FIGURES).get(f"{panel.name} test")
    if figures is None:
        return "The model is not trained yet."
    return (
        f"Uncompressed, {figures['users']:,} test users: Recall@20 {figures['recall']:.4f}, NDCG@20 "
        f"{figures['ndcg']:.4f}; {figures['items']:,} items"
        + (f" and {figures['all users']:,} users" if figures["all users"] else "")
        + f", d = {figures['width']}. Training settings, the best of {len(panel.candidates)} on the validation part: "
        + f"{figures['training']}."
    )
