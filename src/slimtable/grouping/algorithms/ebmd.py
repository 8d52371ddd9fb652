"""EBMD: label propagation with a density-weighted modularity (a baseline of BACO)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Self

import numpy as np
from numba import njit

from slimtable.config import Bounds, NotNegative, PositiveInt
from slimtable.errors import BudgetError
from slimtable.grouping.graph import InteractionGraph
from slimtable.grouping.grouping import Grouping, Labels, register_grouping

_MAX_SWEEPS = 100  # to reach a budget


@register_grouping("ebmd")
@dataclass(frozen=True)
class EBMD(Grouping):
    """Every node takes the label k of its neighbours with the best ``g·e − γ·g²·d_x·D_k / 2E``.

    e counts x's neighbours in k and D_k sums the degrees of k's nodes on the other side; ``g = ρ_k − 2E / (|U|·|V|)``
    is the density of k with x minus that of the whole graph: ``ρ_k = (E_k + e) / (C_U · C_V)`` with its edges E_k and
    the sums of degrees of both sides, plus one on the side of x. As in BACO's code, the sums of both sides start with
    the degree of the initial node of the label. Nodes are visited in random order; ties go to the first label.

    The number of clusters is not monotonic in γ, and clusters keep merging for many sweeps. A budget therefore does not
    tune γ: propagation runs until the rows fit.

    Attributes:
        gamma: γ, weight of the balance.
        sweeps: passes over all nodes.
        stop_rows: stop within a sweep once at most this many rows are left; None to finish all sweeps.

    Raises:
        ValueError: a number is out of range.
    """

    set_by_budget = ("stop_rows",)

    gamma: NotNegative = 1.0
    sweeps: PositiveInt = 5
    stop_rows: Annotated[int, Bounds(2)] | None = None

    def labels(self, graph: InteractionGraph, seed: int) -> Labels:
        nodes, users = graph.num_nodes, graph.num_users
        generator = np.random.default_rng(seed)
        degrees = np.concatenate([graph.user_degrees(), graph.item_degrees()])
        labels = np.arange(nodes, dtype=np.int32)
        members = np.zeros((2, nodes), np.int32)
        members[0, :users] = members[1, users:] = 1
        volumes, edges = np.tile(degrees, (2, 1)), np.zeros(nodes, np.int64)
        rows, stop, after = nodes, self.stop_rows or 0, []
        for _ in range(self.sweeps):
            order = generator.permutation(np.arange(nodes, dtype=np.int32))
            lists = (graph.user_starts, graph.user_items, graph.item_starts, graph.item_users)
            rows = int(_sweep(order, *lists, labels, degrees, volumes, edges, members, self.gamma, stop, rows))
            after.append(rows)
            if rows <= stop:
                break
        return Labels(labels[:users], labels[users:], sweeps=tuple(after))

    def for_rows(self, graph: InteractionGraph, num_rows: int, seed: int) -> Self:
        after: tuple[int, ...] = ()
        for sweeps in (self.sweeps, _MAX_SWEEPS):
            fitting = replace(self, sweeps=sweeps, stop_rows=num_rows)
            after = fitting.labels(graph, seed).sweeps
            if after[-1] <= num_rows:
                return replace(fitting, sweeps=max(self.sweeps, len(after)))
        raise BudgetError(
            f"{num_rows:,} rows are fewer than EBMD can have with gamma={self.gamma:g}: after {_MAX_SWEEPS} sweeps "
            f"there are {after[-1]:,}."
        )


@njit(inline="always")
def score_of(linked, within, own, other, degree, total, density, gamma):  # type: ignore[no-untyped-def]
    """Score of a label.

    Args:
        linked: e, number of neighbours with the label.
        within: E_k, number of edges of the label.
        own: sum of degrees of the label on the side of the node.
        other: sum of degrees on the other side.
        degree: degree of the node.
        total: 2E.
        density: density of the graph.
        gamma: γ.
    """
    gain = (within + linked) / ((own + 1.0) * other) - density
    return gain * linked - gamma * gain * gain * degree * other / total


@njit(cache=True, nogil=True)
def _sweep(  # type: ignore[no-untyped-def]
    order,
    user_starts,
    user_items,
    item_starts,
    item_users,
    labels,
    degrees,
    volumes,
    edges,
    members,
    gamma,
    stop_rows,
    rows,
):
    """Moves every node in the given order until at most ``stop_rows`` rows are left; returns their number.

    Updates by label: ``volumes`` int64 (2, n), the sums of degrees of both sides, ``edges`` int64 (n,) and ``members``
    int32 (2, n).
    """
    num_users, num_items = user_starts.size - 1, item_starts.size - 1
    total = 2.0 * user_items.size
    density = total / (float(num_users) * float(num_items))
    counts, found = np.zeros(labels.size, np.int64), np.empty(degrees.max(), np.int32)
    for x in order:
        if rows <= stop_rows:
            break
        if degrees[x] == 0:
            continue
        if x < num_users:
            side, neighbours, offset = 0, user_items[user_starts[x] : user_starts[x + 1]], num_users
        else:
            y = x - num_users
            side, neighbours, offset = 1, item_users[item_starts[y] : item_starts[y + 1]], 0
        num_found = 0
        for neighbour in neighbours:
            label = labels[neighbour + offset]
            if counts[label] == 0:
                found[num_found] = label
                num_found += 1
            counts[label] += 1
        current, best, best_score = labels[x], labels[x], -np.inf
        for label in found[:num_found]:
            own, other = volumes[side, label], volumes[1 - side, label]
            score = score_of(counts[label], edges[label], own, other, degrees[x], total, density, gamma)
            if score > best_score:
                best, best_score = label, score
        if best != current:
            edges[current] -= counts[current]
            edges[best] += counts[best]
            volumes[side, current] -= degrees[x]
            volumes[side, best] += degrees[x]
            members[side, current] -= 1
            rows -= members[side, current] == 0
            rows += members[side, best] == 0
            members[side, best] += 1
            labels[x] = best
        for label in found[:num_found]:
            counts[label] = 0
    return rows
