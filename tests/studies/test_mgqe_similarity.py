from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from slimtable.bench import parse_methods
from slimtable.embeddings.base import create
from slimtable.errors import DatasetError, DatasetNotFoundError
from studies.mgqe.similarity import (
    GENRES,
    Similarity,
    choose_films,
    codes_of,
    genres_of,
    similarity_matrix,
)
from tests.studies.samples import make_movies


@pytest.mark.parametrize("sorted_ids", [True, False])
@pytest.mark.parametrize("method", ["dpq[codebook_size=8]", "mgqe[codebook_sizes=[16,4]]"])
def test_codes_name_the_centroids_of_the_served_rows(method: str, sorted_ids: bool) -> None:
    (config,) = parse_methods(method)
    frequencies = None if sorted_ids else torch.randperm(40)
    embedding = create(config, 40, 6, frequencies=frequencies).eval()
    torch.nn.init.normal_(embedding.table, std=0.1)
    packed = embedding.pack()
    codes = codes_of(packed)
    book = packed.arrays["codebook.0"]  # (6, K, 1)
    decoded = np.stack([book[m, codes[:, m], 0] for m in range(6)], axis=1)
    np.testing.assert_array_equal(decoded, embedding.weight.numpy())


def test_codes_of_uniform_tables_are_its_steps() -> None:
    (config,) = parse_methods("uniform[bits=3]")
    embedding = create(config, 30, 4).eval()
    packed = embedding.pack()
    served = packed.arrays["offset"] + packed.arrays["step"] * codes_of(packed)
    np.testing.assert_allclose(served, embedding.weight.numpy(), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("method", ["full", "mgqe[codebook_sizes=[8,4];share_codebook=false]"])
def test_codes_that_mean_different_things_are_refused(method: str) -> None:
    (config,) = parse_methods(method)
    with pytest.raises(ValueError, match="share one codebook"):
        codes_of(create(config, 30, 4).eval().pack())


def test_the_two_sets_are_disjoint_and_hold_as_many_of_each_genre() -> None:
    genre_of_film = np.repeat([0, 1, 2, 3, -1], [300, 120, 101, 7, 50])
    first, second = choose_films(genre_of_film)
    assert [len(part) for part in first] == [len(part) for part in second] == [50, 50, 50, 3]
    chosen = np.concatenate([*first, *second])
    assert len(set(chosen.tolist())) == len(chosen)
    for genre, (a, b) in enumerate(zip(first, second, strict=True)):
        assert set(genre_of_film[a]) | set(genre_of_film[b]) == {genre}
    again = choose_films(genre_of_film)
    assert all(np.array_equal(a, b) for a, b in zip(first, again[0], strict=True))
    other = choose_films(genre_of_film, seed=1)
    assert not all(np.array_equal(a, b) for a, b in zip(first, other[0], strict=True))


def test_a_genre_without_films_is_named() -> None:
    with pytest.raises(DatasetError, match="two films of Animation, but the data has 1"):
        choose_films(np.array([0, 0, 1, 1, 2, 3, 3]))


def test_similarity_is_the_mean_number_of_equal_codes() -> None:
    codes = np.array([[1, 2, 3], [1, 2, 0], [9, 2, 3], [7, 7, 7]])
    matrix = similarity_matrix(codes, [np.array([0]), np.array([3])], [np.array([1, 2]), np.array([3])])
    assert matrix.tolist() == [[2.0, 0.0], [0.0, 3.0]]


def test_contrast_is_within_minus_between() -> None:
    matrix = np.full((4, 4), 2.0) + 3 * np.eye(4)
    similarity = Similarity("mgqe", (0,), 64, matrix)
    assert (similarity.contrast, similarity.relative_contrast) == (3.0, 1.5)


def test_a_film_counts_as_the_rarest_of_its_genres(tmp_path: Path) -> None:
    names = ["Sci-Fi|Drama", "Sci-Fi", "Romance|Sci-Fi", "Drama", "Horror|Sci-Fi", "Horror|Romance", "Romance"]
    folder = make_movies(tmp_path, names)
    assert genres_of(np.arange(7), folder).tolist() == [
        GENRES.index("Sci-Fi"),
        GENRES.index("Sci-Fi"),
        GENRES.index("Romance"),  # 3 films, 4 of Sci-Fi
        -1,
        GENRES.index("Horror"),  # 2 films
        GENRES.index("Horror"),
        GENRES.index("Romance"),
    ]


def test_sasrecs_numbering_is_taken_back_to_movielens_ids(tmp_path: Path) -> None:
    folder = make_movies(tmp_path, ["Horror", "Romance", "Sci-Fi", "Animation"])
    raw = np.array([2, 1])  # 1 to N
    with pytest.raises(DatasetNotFoundError, match=r"sasrec_item_to_movieid\.csv"):
        genres_of(raw, folder)
    (folder / "sasrec_item_to_movieid.csv").write_text("sasrec_item,movieid\n1,3\n2,0\n")
    assert [GENRES[genre] for genre in genres_of(raw, folder)] == ["Horror", "Animation"]


def test_without_a_list_of_films_there_are_no_genres(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"Figure 8 needs the genres.*movies\.dat"):
        genres_of(np.arange(3), tmp_path)
