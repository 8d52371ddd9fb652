"""Quality without labels, and maps of rows."""

import numpy as np
import pytest
from matplotlib.collections import PathCollection

from slimtable.codecs.vectors import Array
from slimtable.compress.maps import draw_maps
from slimtable.compress.quality import GROUPS, gini, list_quality, neighbours_kept, popularity_groups, relative_error


def _pair(num: int = 300, dim: int = 8, noise: float = 0.3, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(num, dim)).astype(np.float32)
    return Array(table), Array(table + noise * rng.normal(size=(num, dim)).astype(np.float32))


def _best(queries: np.ndarray, table: np.ndarray, k: int, own: bool) -> list[set[int]]:
    scores = queries.astype(np.float64) @ table.T.astype(np.float64)
    if own:
        np.fill_diagonal(scores, -np.inf)
    return [set(np.argsort(-line)[:k].tolist()) for line in scores]


@pytest.mark.parametrize("own", [True, False])
def test_lists_are_those_of_all_scores(own: bool) -> None:
    ranked, asking = _pair(), _pair(200, seed=1)
    frequencies = np.random.default_rng(2).permutation(300)
    found = list_quality(ranked, None if own else asking, "t", frequencies)
    assert found is not None
    queries = ranked if own else asking
    before, after = (_best(q.read(0, len(q)), t.read(0, 300), 20, own) for q, t in zip(queries, ranked, strict=True))
    assert found.queries == len(queries[0])
    assert found.kept == pytest.approx(np.mean([len(b & a) / 20 for b, a in zip(before, after, strict=True)]))
    assert 0.5 < found.kept < 0.99
    groups = popularity_groups(frequencies)
    for index, group in enumerate(GROUPS):
        hits = [(i in a) for b, a in zip(before, after, strict=True) for i in b if groups[i] == index]
        assert found.by_group[group] == pytest.approx(np.mean(hits))
    assert found.coverage.uncompressed == len(set().union(*before)) / 300
    assert found.coverage.compressed == len(set().union(*after)) / 300


def test_nothing_is_lost_by_a_copy_and_almost_all_by_noise() -> None:
    table, noise = _pair(1000, noise=0.0)[0], _pair(1000, seed=9)[0]
    same = list_quality((table, table))
    assert same is not None
    assert (same.kept, same.error, same.coverage.uncompressed) == (1.0, 0.0, same.coverage.compressed)
    assert neighbours_kept(table, table) == 1.0
    assert relative_error(table, table) == 0.0
    lost = list_quality((table, noise))
    assert lost is not None
    assert lost.kept < 0.05
    assert lost.by_group == {}
    assert (neighbours_kept(table, noise) or 0) < 0.05


def test_neighbours_do_not_depend_on_the_length_of_rows() -> None:
    table, noisy = _pair()
    lengths = np.random.default_rng(3).uniform(0.1, 10, (300, 1)).astype(np.float32)
    kept = neighbours_kept(table, noisy)
    assert kept == pytest.approx(neighbours_kept(table, Array(noisy.read(0, 300) * lengths)), abs=0.005)
    assert kept is not None
    assert 0.2 < kept < 0.9


def test_collapsed_rows_narrow_coverage() -> None:
    """Every tail row becomes the same long row: lists are full of copies, and others are in none."""
    table = np.random.default_rng(4).normal(size=(500, 8)).astype(np.float32)
    collapsed = table.copy()
    collapsed[100:] = 3 * table[100]
    found = list_quality((Array(table), Array(collapsed)))
    assert found is not None
    assert found.coverage.compressed < 0.6 * found.coverage.uncompressed
    assert found.gini.compressed > found.gini.uncompressed + 0.1


def test_relative_error_is_over_the_variance() -> None:
    before, after = _pair(70_000, 2)
    a, b = before.read(0, 70_000).astype(np.float64), after.read(0, 70_000)
    assert relative_error(before, after) == pytest.approx(((a - b) ** 2).mean() / a.var())
    constant = Array(np.full((10, 2), 5.0))
    assert relative_error(constant, Array(np.full((10, 2), 4.0))) == pytest.approx(1.0)


@pytest.mark.parametrize("rows", [1, 2])
def test_too_few_rows_have_no_lists(rows: int) -> None:
    table = Array(np.ones((rows, 3)))
    assert list_quality((table, table)) is None
    assert neighbours_kept(table, table) is None


def test_gini_by_its_definition() -> None:
    counts = np.random.default_rng(5).integers(0, 50, 40)
    mean_difference = np.abs(counts[:, None] - counts).mean()
    assert gini(counts) == pytest.approx(mean_difference / (2 * counts.mean()))
    assert gini(np.zeros(3)) == 0.0


def _dots(figure) -> list[PathCollection]:
    return [next(c for c in axes.collections if isinstance(c, PathCollection)) for axes in figure.axes]


def test_maps_have_the_same_axes_and_colours() -> None:
    rng = np.random.default_rng(6)
    centres = 10 * np.eye(3, 8)
    rows = (centres[np.arange(90) % 3] + 0.1 * rng.normal(size=(90, 8))).astype(np.float32)
    figure = draw_maps(rows, rows + 0.01 * rng.normal(size=rows.shape).astype(np.float32))
    assert [axes.get_title(loc="left").split(",")[0] for axes in figure.axes] == ["uncompressed", "compressed"] * 2
    dots = _dots(figure)
    for left, right, axes in ((0, 1, figure.axes[:2]), (2, 3, figure.axes[2:])):
        assert (dots[left].get_facecolors() == dots[right].get_facecolors()).all()
        assert axes[0].get_xlim() == axes[1].get_xlim()
        moved = np.linalg.norm(dots[left].get_offsets() - dots[right].get_offsets(), axis=1)
        assert np.median(moved) < 0.1 * np.ptp(dots[left].get_offsets(), axis=0).max()
    for group in range(3):  # a cluster stays together, with colours of its own
        own = {tuple(colour) for colour in dots[0].get_facecolors()[group::3]}
        others = {tuple(c) for k in range(3) if k != group for c in dots[0].get_facecolors()[k::3]}
        assert not own & others


def test_maps_of_odd_tables() -> None:
    for rows in (np.zeros((30, 4)), np.ones((2, 1)), np.eye(5)):
        figure = draw_maps(rows.astype(np.float32), rows.astype(np.float32))
        assert len(figure.axes) == (4 if len(rows) >= 20 else 2)
    with pytest.raises(ValueError, match="same two or more rows"):
        draw_maps(np.zeros((3, 2)), np.zeros((4, 2)))
