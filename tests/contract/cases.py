"""What the contract is tested on: every registered method, in configurations that exercise its options."""

from __future__ import annotations

from slimtable.embedding import get_config, method_names

# Options beyond the defaults that a method must also keep the contract with. A method not named here is tested
# with its defaults alone, so a new method is under contract from its first day.
_OPTIONS: dict[str, list[dict[str, object]]] = {
    "low_rank": [{"rank": 3}],
    "uniform": [
        {"bits": 1},
        {"bits": 3},
        {"bits": 4, "axis": "row"},
        {"bits": 5, "axis": "row", "scale_bits": 16},
    ],
    "dpq": [
        {"num_codebooks": 4, "codebook_size": 5},
        {"num_codebooks": 2, "codebook_size": 16, "share_subspaces": True},
        {"num_codebooks": 4, "codebook_size": 8, "batch_norm": True},
        {"num_codebooks": 4, "codebook_size": 8, "variant": "softmax"},
        {"num_codebooks": 4, "codebook_size": 8, "initialization": "kmeans", "revive_dead": True},
        {"codebook_size": 16, "share_subspaces": True},
        {"codebook_size": 8, "codebook_bits": 16},
        {"num_codebooks": 4, "codebook_size": 8, "codebook_bits": 16, "dense_epochs": 1},
        {"num_codebooks": 4, "codebook_size": 8, "share_subspaces": True, "variant": "softmax"},
    ],
    "mgqe": [
        {"codebook_sizes": [16, 8, 4], "tier_fractions": [0.2, 0.3, 0.5], "num_codebooks": 4},
        {"codebook_sizes": [16, 4], "share_codebook": False},
        {"codebook_sizes": [8, 8], "share_codebook": False, "num_codebooks": [8, 2]},
        {"codebook_sizes": [16, 4], "num_codebooks": 4, "variant": "softmax"},
        {"codebook_sizes": [16, 4], "num_codebooks": 4, "batch_norm": True},
        {"codebook_sizes": [16, 4], "initialization": "kmeans", "revive_dead": True},
        {"codebook_sizes": [16, 4], "share_codebook": False, "codebook_bits": 16},
        {"preset": "compact"},
    ],
}

CASES = [(name, options) for name in method_names() for options in [{}, *_OPTIONS.get(name, [])]]


def case_id(case: tuple[str, dict[str, object]]) -> str:
    name, options = case
    return "-".join([name, *(f"{k}={v}" for k, v in options.items())]).replace(" ", "")


def make_config(case: tuple[str, dict[str, object]]):
    return get_config(*case)
