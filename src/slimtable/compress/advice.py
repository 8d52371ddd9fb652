"""What statistics of a table say about its compression, in sentences."""

from __future__ import annotations

from slimtable.compress.statistics import FrequencyStatistics, TableStatistics

CONCENTRATED = 0.35
"""Share of the occurrences in the top decile from which tiers by frequency pay."""

_SMALL_ROWS = 4096  # codebooks outweigh what they save below
_NARROW = 32  # 32 bits of scales per row are a bit per dimension here
_UNEVEN = 0.3  # spread of lengths from which one scale per column wastes codes
_FLAT, _CONCENTRATED_RANK = 0.75, 0.5  # effective rank over d
_COMMON = 0.5  # share of the mean row
_OUTLIER = 30.0  # largest value over the root mean square


def advice(
    table: TableStatistics, frequencies: FrequencyStatistics | None = None, share_of_total: float = 1.0
) -> list[str]:
    """Sentences on what to do, and why; those about the rows as they are come first.

    Args:
        table: statistics of the table.
        frequencies: statistics of the frequencies of its ids; None if they are unknown.
        share_of_total: share of the table in the bytes of all tables.

    Returns:
        At least one sentence.
    """
    found = [*_about_rows(table)]
    if share_of_total < 0.01 or table.num_embeddings < _SMALL_ROWS:
        why = (
            f"has only {table.num_embeddings:,} rows"
            if table.num_embeddings < _SMALL_ROWS
            else f"is {100 * share_of_total:.2g} % of all bytes"
        )
        found.append(f"The table {why}: 8 bits per value, or none of its bits saved, cost little.")
    return [*found, *_about_geometry(table), _about_frequencies(frequencies)]


def _about_rows(table: TableStatistics) -> list[str]:
    found = []
    if table.non_finite_rows:
        found.append(
            f"NaN or infinite values in {table.non_finite_rows:,} of the rows: compression refuses them. Repair or "
            "drop such rows first."
        )
    if table.zero_rows > 1:
        found.append(
            f"{table.zero_rows:,} rows are zeros, perhaps ids that were never trained. Without them the table is "
            f"{100 * table.zero_rows / table.num_embeddings:.2g} % smaller."
        )
    if table.duplicate_rows >= 0.01 * table.num_embeddings:
        about = "About " if table.duplicates_estimated else ""
        found.append(
            f"{about}{table.duplicate_rows:,} rows repeat another one. Methods with shared rows store them once."
        )
    return found


def _about_geometry(table: TableStatistics) -> list[str]:
    found = []
    if table.norm_spread >= _UNEVEN:
        found.append(
            f"Rows differ in length (spread {table.norm_spread:.2f}): prefer a scale or gain per row to one per column."
        )
    root_mean_square = table.norm_mean / table.embedding_dim**0.5
    largest = max(table.largest_value, -table.smallest_value)
    if root_mean_square and largest > _OUTLIER * root_mean_square:
        found.append(
            f"The largest value is {largest / root_mean_square:.0f} times the typical one: clip scalar codes, or use "
            "codebooks."
        )
    if table.mean_share >= _COMMON:
        found.append(
            f"The mean row holds {100 * table.mean_share:.0f} % of the energy: prefer methods that store an offset."
        )
    relative = table.effective_rank / table.embedding_dim
    if 0 < relative <= _CONCENTRATED_RANK:
        found.append(
            f"{table.rank_90} of {table.embedding_dim} directions hold 90 % of the energy (effective rank "
            f"{table.effective_rank:.1f}): a low-rank factorization or a learned rotation can pay."
        )
    elif relative >= _FLAT:
        found.append(
            f"All directions are needed (effective rank {table.effective_rank:.1f} of {table.embedding_dim}): low rank "
            "would lose much."
        )
    if table.embedding_dim <= _NARROW:
        found.append(
            f"Rows have only {table.embedding_dim} values: 32 bits of scales per row cost "
            f"{32 / table.embedding_dim:.2g} bits per value, so use scales of 16 or 8 bits."
        )
    return found


def _about_frequencies(frequencies: FrequencyStatistics | None) -> str:
    if frequencies is None:
        return "Without frequencies, all rows count the same. Give them if some ids are looked up more often."
    share = f"The most frequent tenth of the ids has {100 * frequencies.top_decile_share:.0f} % of the occurrences"
    if frequencies.top_decile_share >= CONCENTRATED:
        return f"{share}: if the rows are ranked, such as items, finer codes for these ids than for the others can pay."
    return f"{share}, too little for tiers: code all ids alike, weighted by frequency."
