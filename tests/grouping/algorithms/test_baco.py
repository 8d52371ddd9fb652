"""BACO's clustering: its objective, its special cases, its budget, and what the paper's graph gives."""

from __future__ import annotations

import re

import networkx
import numpy as np
import pytest
from networkx.algorithms import bipartite

from slimtable.data import load_dataset
from slimtable.errors import BudgetError
from slimtable.grouping import InteractionGraph, Labels, get_grouping, group
from slimtable.grouping.algorithms.baco import BACO, PropagationState, objective
from tests.grouping.graphs import graph_of, power_law, two_bicliques

GRAPH = power_law()


def run(grouping: BACO, graph: InteractionGraph, seed: int = 0) -> PropagationState:
    state = PropagationState(graph, grouping.weights(graph), grouping.clean_volumes)
    state.run(grouping.gamma, grouping.sweeps, grouping.order, grouping.forced, seed)
    return state


def adjacency(graph: InteractionGraph) -> np.ndarray:
    dense = np.zeros((graph.num_users, graph.num_items))
    dense[np.repeat(np.arange(graph.num_users), graph.user_degrees()), graph.user_items] = 1
    return dense


@pytest.mark.parametrize("order", ["mixed", "sides"])
def test_two_bicliques_become_two_clusters(order) -> None:
    groups = group(two_bicliques(), BACO(gamma=0.3, order=order, sweeps=8))
    assert groups.users.rows.tolist() == [0] * 6 + [1] * 6
    assert groups.items.rows.tolist() == [0] * 5 + [1] * 5
    assert groups.statistics.intra_edges_percent == 100


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("clean", [True, False])
def test_one_sweep_equals_the_formula_spelled_out(seed, clean) -> None:
    grouping = BACO(gamma=1.5, sweeps=1, clean_volumes=clean, user_weight="sqrt")
    state = run(grouping, GRAPH, seed)
    num_users, dense = GRAPH.num_users, adjacency(GRAPH)
    weights = np.concatenate(grouping.weights(GRAPH))
    labels = np.arange(GRAPH.num_nodes)
    volumes = np.stack([weights, weights])
    if clean:
        volumes[0, num_users:] = volumes[1, :num_users] = 0
    for x in np.random.default_rng(seed).permutation(np.arange(GRAPH.num_nodes, dtype=np.int32)):
        is_item = x >= num_users
        near = np.flatnonzero(dense[:, x - num_users]) if is_item else np.flatnonzero(dense[x]) + num_users
        if not len(near):
            continue
        scores = {k: (labels[near] == k).sum() - 1.5 * weights[x] * volumes[1 - is_item, k] for k in labels[near]}
        best = max(scores, key=scores.get)  # the first of equals, as labels stand among the neighbours
        volumes[int(is_item), labels[x]] -= weights[x]
        volumes[int(is_item), best] += weights[x]
        labels[x] = best
    assert state.labels.tolist() == labels.tolist()


def test_volumes_and_members_stay_what_they_would_be_counted_anew() -> None:
    for order in ("mixed", "sides"):
        state = run(BACO(gamma=2.0, sweeps=4, clean_volumes=True, order=order), GRAPH)
        for side, (labels, weights) in enumerate(
            zip(state.split(state.labels), state.split(state.weights), strict=True)
        ):
            expected = np.bincount(labels, weights, minlength=GRAPH.num_nodes)
            np.testing.assert_allclose(state.volumes[side], expected, atol=1e-9)
            assert (state.members[side] == np.bincount(labels, minlength=GRAPH.num_nodes)).all()


def test_phantom_volumes_never_leave() -> None:
    phantom, clean = (run(BACO(gamma=0.0, clean_volumes=clean), GRAPH) for clean in (False, True))
    assert (phantom.labels == clean.labels).all()  # without a balance term they do not matter
    extra = phantom.volumes - clean.volumes
    assert extra[0, : GRAPH.num_users] == pytest.approx(0, abs=1e-9)
    assert extra[0, GRAPH.num_users :] == pytest.approx(phantom.weights[GRAPH.num_users :])


def test_objective_is_the_trace_form() -> None:
    grouping = BACO(gamma=1.3, item_weight="log")
    state = run(grouping, GRAPH)
    users, items = state.split(state.labels)
    w_users, w_items = grouping.weights(GRAPH)
    one_hot_users, one_hot_items = np.eye(GRAPH.num_nodes)[users], np.eye(GRAPH.num_nodes)[items]
    balanced = adjacency(GRAPH) - 1.3 * np.outer(w_users, w_items)
    expected = np.trace(one_hot_users.T @ balanced @ one_hot_items)
    assert objective(GRAPH, Labels(users, items), (w_users, w_items), 1.3) == pytest.approx(expected)


def test_degree_weights_give_bipartite_modularity() -> None:
    grouping = BACO(gamma=1.0, item_weight="degree")
    state = run(grouping, GRAPH)
    users, items = state.split(state.labels)
    network = networkx.Graph()
    network.add_nodes_from((("u", i) for i in range(GRAPH.num_users)), bipartite=0)
    network.add_nodes_from((("v", i) for i in range(GRAPH.num_items)), bipartite=1)
    network.add_edges_from((("u", u), ("v", v)) for u, v in zip(*adjacency(GRAPH).nonzero(), strict=True))
    communities = [
        {("u", i) for i in np.flatnonzero(users == k)} | {("v", i) for i in np.flatnonzero(items == k)}
        for k in np.unique(state.labels)
    ]
    modularity = _barber(network, communities)
    assert objective(GRAPH, Labels(users, items), grouping.weights(GRAPH), 1.0) / GRAPH.num_edges == pytest.approx(
        modularity
    )


def _barber(network, communities) -> float:
    if hasattr(bipartite, "modularity"):
        return bipartite.modularity(network, communities, [n for n in network if n[0] == "u"])
    # networkx spells Barber's null model as that of a directed graph from users to items
    directed = networkx.DiGraph()
    directed.add_nodes_from(network)
    directed.add_edges_from(edge if edge[0][0] == "u" else edge[::-1] for edge in network.edges)
    return networkx.community.modularity(directed, communities)


def test_published_weights_are_modularity_with_another_resolution() -> None:
    """γ·w_u·w_v with w_v = d_v/√V equals γ_eff·d_u·d_v/E with γ_eff = γ·√(E/V)."""
    published = BACO(gamma=0.8, clean_volumes=True)
    effective = 0.8 * np.sqrt(GRAPH.num_edges / GRAPH.num_items)
    barber = BACO(gamma=effective, item_weight="degree", clean_volumes=True)
    same = (run(published, GRAPH).labels == run(barber, GRAPH).labels).mean()
    assert same > 0.99  # rounding decides between equal scores


def test_without_balance_it_is_plain_label_propagation() -> None:
    state = run(BACO(gamma=0.0, sweeps=2), GRAPH, seed=5)
    dense, num_users = adjacency(GRAPH), GRAPH.num_users
    generator, labels = np.random.default_rng(5), np.arange(GRAPH.num_nodes)
    for _ in range(2):
        for x in generator.permutation(np.arange(GRAPH.num_nodes, dtype=np.int32)):
            near = np.flatnonzero(dense[x]) + num_users if x < num_users else np.flatnonzero(dense[:, x - num_users])
            if len(near):
                values, first, counts = np.unique(labels[near], return_index=True, return_counts=True)
                most = counts == counts.max()
                labels[x] = values[most][first[most].argmin()]
    assert state.labels.tolist() == labels.tolist()


def test_isolated_nodes_keep_a_row_each() -> None:
    graph = graph_of([(0, 0), (1, 0), (1, 1)], num_users=4, num_items=3)
    groups = group(graph, BACO(gamma=0.1))
    assert len({groups.users.rows[2], groups.users.rows[3], groups.users.rows[0]}) == 3
    assert groups.items.rows[2] not in groups.items.rows[:2]


def test_isolated_nodes_share_rows_where_asked_or_needed() -> None:
    graph = graph_of([(0, 0), (1, 0), (1, 1)], num_users=40, num_items=30)
    shared = group(graph, BACO(gamma=0.1, share_isolated=True))
    assert len(set(shared.users.rows[2:])) == len(set(shared.items.rows[2:])) == 1
    assert shared.users.rows[2] not in shared.users.rows[:2]
    assert group(graph, "baco[gamma=0.1]").num_rows == shared.num_rows + 37 + 27
    assert group(graph, "baco", num_rows=7).num_rows <= 7
    with pytest.raises(BudgetError, match="smallest"):
        group(graph, "baco[share_isolated=false]", num_rows=7)


def test_second_clusters_are_other_clusters_that_users_have_anyway() -> None:
    first_only, groups = (group(GRAPH, BACO(gamma=2.0, secondary=side)) for side in ("none", "both"))
    assert first_only.users.secondary is None
    for one, both in ((first_only.users, groups.users), (first_only.items, groups.items)):
        assert one.num_rows == both.num_rows
        assert (one.rows == both.rows).all()
        assert set(both.secondary) <= set(both.rows)
    assert groups.statistics.second_users_percent > 20


def test_second_cluster_is_the_best_other_one() -> None:
    grouping = BACO(gamma=2.0)
    state = run(grouping, GRAPH)
    (users, items), dense = state.split(state.labels), adjacency(GRAPH)
    second = state.secondary_labels(2.0, "users")[0]
    for x in range(GRAPH.num_users):
        near = items[np.flatnonzero(dense[x])]
        score = {
            k: (near == k).sum() - 2.0 * state.weights[x] * (state.volumes[1, k] - state.volumes[1, users[x]])
            for k in near
            if k != users[x] and k in users
        }
        assert (second[x] == -1) if not score else score[second[x]] == pytest.approx(max(score.values()))


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.8, 0.97])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_budget_is_filled(share, seed) -> None:
    wanted = int(share * GRAPH.num_nodes)
    groups = group(GRAPH, "baco", num_rows=wanted, seed=seed)
    assert 0.97 * wanted <= groups.num_rows <= wanted
    again = group(GRAPH, groups.grouping, seed=seed)  # what was found says all
    assert (again.users.rows == groups.users.rows).all()
    assert (again.items.rows == groups.items.rows).all()


def test_impossible_budgets_say_what_is_possible() -> None:
    graph = two_bicliques()
    with pytest.raises(BudgetError, match="the smallest is 4"):
        group(graph, "baco", num_rows=3)
    with pytest.raises(BudgetError, match="smallest is") as caught:
        group(GRAPH, "baco", num_rows=2)
    smallest = int(re.search(r"smallest is ([\d,]+)", str(caught.value))[1].replace(",", ""))
    assert group(GRAPH, "baco", num_rows=smallest).num_rows == smallest
    with pytest.raises(BudgetError, match="smallest is"):
        group(GRAPH, "baco", num_rows=smallest - 1)
    with pytest.raises(BudgetError, match="nothing is shared"):
        group(graph, "baco", num_rows=graph.num_nodes)
    with pytest.raises(BudgetError, match="--rows"):
        group(graph, "baco")


@pytest.mark.parametrize("options", [{"gamma": -1.0}, {"sweeps": 0}, {"stop_rows": 1}])
def test_refused_options(options) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        get_grouping("baco", options)


def test_seed_gives_one_answer() -> None:
    first, second, other = (group(GRAPH, "baco[gamma=3]", seed=seed) for seed in (0, 0, 1))
    assert (first.users.rows == second.users.rows).all()
    assert not (first.users.rows == other.users.rows).all()


def test_gowalla_gives_the_rows_of_the_paper(real_data) -> None:
    """Rows after each sweep at the paper's γ on the LightGCN training split, and users with a secondary cluster."""
    train = load_dataset("gowalla", data_root=real_data).interactions
    statistics = group(InteractionGraph.from_interactions(train), "baco[gamma=7.57]").statistics
    np.testing.assert_allclose(statistics.sweeps, [34_200, 21_800, 16_100, 12_900, 11_100], rtol=0.03)
    assert statistics.second_users_percent == pytest.approx(95, abs=1.5)


@pytest.mark.parametrize("forced", [True, False])
@pytest.mark.parametrize("order", ["mixed", "sides"])
@pytest.mark.parametrize("stop_rows", [None, 150])
def test_every_option_equals_the_formula_spelled_out(forced, order, stop_rows) -> None:
    """Sweeps and secondary clusters of both sides in dense arrays and Python."""
    gamma, users = 1.2, GRAPH.num_users
    grouping = BACO(gamma=gamma, sweeps=3, forced=forced, order=order, secondary="both", stop_rows=stop_rows)
    weights = np.concatenate([GRAPH.user_degrees() / np.sqrt(GRAPH.num_edges), GRAPH.item_degrees() / np.sqrt(200)])
    dense, nodes = adjacency(GRAPH), range(GRAPH.num_nodes)
    near = [np.flatnonzero(dense[x]) + users if x < users else np.flatnonzero(dense[:, x - users]) for x in nodes]
    labels = np.arange(GRAPH.num_nodes)
    phantom = np.stack([weights * (labels >= users), weights * (labels < users)])

    def scores(x: int, among: np.ndarray) -> dict[int, float]:
        other = slice(users, None) if x < users else slice(users)
        volumes = phantom[int(x < users)] + np.bincount(labels[other], weights[other], minlength=len(labels))
        return {k: (labels[near[x]] == k).sum() - gamma * weights[x] * volumes[k] for k in among}

    def best(x: int) -> int:
        found = scores(x, labels[near[x]] if forced else [labels[x], *labels[near[x]]])
        return max(found, key=found.get) if len(near[x]) else labels[x]

    def rows() -> int:
        return len(set(labels[:users])) + len(set(labels[users:]))

    generator, after = np.random.default_rng(2), []
    for _ in range(3):
        if order == "sides":
            for side in (range(users), range(users, len(labels))):
                labels[list(side)] = [best(x) for x in side]
        else:
            for x in generator.permutation(np.arange(len(labels), dtype=np.int32)):
                if stop_rows and rows() <= stop_rows:
                    break
                labels[x] = best(x)
        after.append(rows())
        if stop_rows and after[-1] <= stop_rows:
            break
    found = grouping.labels(GRAPH, 2)
    assert [*found.users, *found.items] == labels.tolist()
    assert list(found.sweeps) == after
    for x, second in enumerate([*found.secondary_users, *found.secondary_items]):
        side = labels[:users] if x < users else labels[users:]
        others = {k: score for k, score in scores(x, labels[near[x]]).items() if k != labels[x] and k in side}
        assert (second == -1) if not others else others[second] == pytest.approx(max(others.values()))  # but rounding
