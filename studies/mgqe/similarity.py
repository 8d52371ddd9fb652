"""Figure 8: how alike the codes of films of the same and of different genres are."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slimtable.artifact.bits import code_bits, unpack_bits
from slimtable.artifact.coded import read_tiers
from slimtable.artifact.packed import Packed
from slimtable.bench.jobs import run_folder
from slimtable.bench.results import Record
from slimtable.compress import compress_
from slimtable.data.datasets.catalogue import data_root as find_data_root
from slimtable.embeddings.base import MethodConfig, method_of
from slimtable.embeddings.registry import saved_config
from slimtable.errors import DatasetError, DatasetNotFoundError
from slimtable.training.packing import restore_run
from slimtable.training.run_folder import CHECKPOINT
from studies.kept import keep, read_kept

GENRES = ("Sci-Fi", "Romance", "Animation", "Horror")
FILMS_PER_SET = 200
CACHE = "figure8.json"
_SEED = 0


@dataclass(frozen=True)
class Similarity:
    """Mean number of equal codes between films of two genres.

    Attributes:
        label: the method.
        seeds: seeds of the trainings that it is the mean over.
        num_codes: codes of a film, the most that can be equal.
        matrix: float64 (genres, genres); films of one set by those of the other.
    """

    label: str
    seeds: tuple[int, ...]
    num_codes: int
    matrix: np.ndarray

    @property
    def within(self) -> float:
        """Mean of films of one genre."""
        return float(self.matrix[np.eye(len(self.matrix), dtype=bool)].mean())

    @property
    def between(self) -> float:
        """Mean of films of two genres."""
        return float(self.matrix[~np.eye(len(self.matrix), dtype=bool)].mean())

    @property
    def contrast(self) -> float:
        """Mean within a genre minus mean between genres, in codes."""
        return self.within - self.between

    @property
    def relative_contrast(self) -> float:
        """The contrast over the mean between genres, so that methods whose codes agree more or less compare."""
        return self.contrast / self.between


def codes_of(packed: Packed) -> np.ndarray:
    """The codes of every id of a packed table whose rows all have the same codebooks, int64 (N, M).

    Raises:
        ValueError: the layout has no codes, or tiers use different codebooks, so that equal codes mean nothing.
    """
    if packed.layout == "scaled":
        bits = int(packed.layout_config["bits"])
        codes = unpack_bits(packed.arrays["codes"], bits, packed.num_embeddings * packed.embedding_dim)
        return codes.reshape(packed.num_embeddings, -1).astype(np.int64)
    tiers = read_tiers(packed) if packed.layout == "coded" else []
    if len({tier.codebook for tier in tiers}) != 1:
        raise ValueError("Codes can be compared only where all ids share one codebook.")
    parts = [
        unpack_bits(packed.arrays[f"codes.{t}"], tier.width, tier.num_codes).reshape(tier.num_rows, -1)
        for t, tier in enumerate(tiers)
    ]
    codes = np.concatenate(parts).astype(np.int64)
    if "tiers" not in packed.arrays:
        return codes
    flags = unpack_bits(packed.arrays["tiers"], code_bits(len(tiers)), packed.num_embeddings)
    ordered = np.empty_like(codes)
    ordered[np.argsort(flags, kind="stable")] = codes
    return ordered


def choose_films(genre_of_film: np.ndarray, seed: int = _SEED) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Two disjoint sets of films, with equally many of each genre: the films of each genre in the first and the second.

    Args:
        genre_of_film: int (N,), index into :data:`GENRES`, or -1.
        seed: of the draw.

    Raises:
        DatasetError: a genre has fewer than two films.
    """
    generator = np.random.default_rng(seed)
    first, second = [], []
    for genre in range(len(GENRES)):
        films = generator.permutation(np.flatnonzero(genre_of_film == genre))
        count = min(FILMS_PER_SET // len(GENRES), len(films) // 2)
        if not count:
            raise DatasetError(f"Figure 8 needs at least two films of {GENRES[genre]}, but the data has {len(films)}.")
        first.append(films[:count])
        second.append(films[count : 2 * count])
    return first, second


def similarity_matrix(codes: np.ndarray, first: list[np.ndarray], second: list[np.ndarray]) -> np.ndarray:
    """Mean number of positions with the same code, for each genre of the first set and of the second."""
    return np.array([[float((codes[a][:, None] == codes[b][None]).sum(2).mean()) for b in second] for a in first])


def genres_of(raw_ids: np.ndarray, folder: Path) -> np.ndarray:
    """The genre of each film, int64 (N,): index into :data:`GENRES`, or -1 for a film of none of them.

    A film with several of the genres counts as the one with the fewest films, so that every genre has enough.

    Args:
        raw_ids: (N,) MovieLens ids, or SASRec's numbering 1 to N of them.
        folder: the folder of ml-1m.

    Raises:
        DatasetNotFoundError: the folder lacks the list of films.
    """
    movies = _need(folder / "movies.dat")
    ids = np.asarray(raw_ids).astype(np.int64)
    if np.array_equal(np.sort(ids), np.arange(1, len(ids) + 1)):  # MovieLens ids have gaps
        with _need(folder / "sasrec_item_to_movieid.csv").open() as file:
            original = {int(row["sasrec_item"]): int(row["movieid"]) for row in csv.DictReader(file)}
        ids = np.array([original.get(int(item), -1) for item in ids])
    genres = {}
    for line in movies.read_text(encoding="latin-1").splitlines():
        movie, _, names = line.split("::")
        genres[int(movie)] = names.split("|")
    has = np.array([[genre in genres.get(int(film), ()) for genre in GENRES] for film in ids])  # (N, genres)
    rarest_first = np.argsort(has.sum(axis=0), kind="stable")
    found = rarest_first[np.argmax(has[:, rarest_first], axis=1)]
    return np.where(has.any(axis=1), found, -1)


def measure_similarities(
    out: Path, runs: dict[str, dict[int, Record]], data_root: Path | None
) -> dict[str, dict[int, dict[str, Any]]]:
    """The similarities of finished trainings, kept in a file so that the run folders are needed once.

    Args:
        out: folder of the results.
        runs: finished runs by label and seed.
        data_root: folder of datasets; None for the usual one.

    Returns:
        For each label and seed: ``matrix``, ``num_codes``, ``films``; without those whose run folder is gone.

    Raises:
        DatasetError: something is to be measured, and the list of films is missing or has too few of a genre.
    """
    cached, found = read_kept(out / CACHE), dict[str, dict[int, dict[str, Any]]]()
    for label, by_seed in runs.items():
        for seed, record in by_seed.items():
            key = f"{label}, seed {seed}, {record['date']}"
            folder = run_folder(out, record)
            if key not in cached and (folder / CHECKPOINT).is_file():
                config = saved_config(record["method"], record["method_config"])
                cached[key] = keep(out / CACHE, key, _measure(folder, config, data_root))
            if key in cached:
                found.setdefault(label, {})[seed] = cached[key]
    return found


def mean_similarity(label: str, by_seed: dict[int, dict[str, Any]]) -> Similarity:
    """The mean over trainings."""
    matrix = np.mean([entry["matrix"] for entry in by_seed.values()], axis=0)
    return Similarity(label, tuple(by_seed), next(iter(by_seed.values()))["num_codes"], matrix)


def _measure(folder: Path, config: MethodConfig, data_root: Path | None) -> dict[str, Any]:
    run = restore_run(folder)
    if method_of(config).post_training:
        compress_(run.model, config)
    codes = codes_of(run.model.embeddings()["item"].pack())
    genre_of_film = genres_of(run.vocabularies["item"], find_data_root(data_root) / "ml-1m")
    first, second = choose_films(genre_of_film)
    return {
        "genres": list(GENRES),
        "films": [len(part) for part in first],
        "num_codes": codes.shape[1],
        "matrix": similarity_matrix(codes, first, second).tolist(),
    }


def _need(path: Path) -> Path:
    if not path.is_file():
        raise DatasetNotFoundError(f"Figure 8 needs the genres of the films, but {path} is not there.")
    return path
