"""Exports are read by the real readers, and faiss finds what the decoded rows find."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slimtable.artifact.file import read_artifact, write_artifact
from slimtable.artifact.layouts import decode
from slimtable.artifact.packed import Packed
from slimtable.artifact.quantizer import quantizer_of, scalar_codes_of
from slimtable.compress import compress_table
from slimtable.embeddings.base import get_config
from slimtable.export import EXPORTERS, export_table
from slimtable.export.arrow_files import METADATA, codebooks_of
from slimtable.export.content import content_of
from slimtable.export.faiss_index import index_of
from tests.artifact.quantized_samples import more_quantized_samples, quantized, quantized_samples

TABLE = np.random.default_rng(0).standard_normal((500, 12)).astype(np.float32)
TABLE[3] = 0
QUERIES = np.random.default_rng(1).standard_normal((20, 12)).astype(np.float32)


def made(method: str, padding: int | None = None, **options: object) -> Packed:
    return compress_table(TABLE, get_config(method, options), padding_idx=padding)


def turned(packed: Packed) -> Packed:
    """The table with an orthogonal rotation."""
    rotation = np.linalg.qr(np.random.default_rng(2).standard_normal((12, 12)))[0].astype(np.float32)
    return replace(packed, arrays={**packed.arrays, "rotation": rotation})


def skewed() -> Packed:
    packed = quantized(rotation="stored")
    return replace(packed, arrays={**packed.arrays, "rotation": np.tri(12, dtype=np.float32)})


IN_FAISS = {
    "pq": lambda: made("dpq", num_codebooks=4, codebook_size=16),
    "pq, odd sizes": lambda: made("dpq", num_codebooks=3, codebook_size=11, share_subspaces=True, codebook_bits=16),
    "pq with padding": lambda: made("dpq", 3, num_codebooks=4, codebook_size=16),
    "joined": lambda: quantized(300, 12, 4, 30),
    "joined, turned": lambda: turned(quantized(300, 12, 4, 256, bits=8, rotation="stored", offset=True)),
    "summed": lambda: quantized(300, 12, 3, 20, "sum", bits=16),
    "summed, turned by a seed": lambda: quantized(300, 12, 5, 256, "sum", rotation=(7, 2), padding_idx=0),
    "scalar, turned": lambda: quantized(300, 12, 12, 4, shared=True, rotation=(3, 1)),
    "stages": lambda: made("saec", num_rows=61, stages=3, row_bits=8, iterations=2),
    "shared rows": lambda: made("saec", num_rows=40, iterations=2),
    "rq": lambda: made("rq", num_codebooks=2, codebook_size=64, gain_bits=0),
    "opq": lambda: made("opq", num_codebooks=4, codebook_size=16, gain_bits=0),
    "8 bits": lambda: made("uniform", bits=8),
    "6 bits": lambda: made("uniform", bits=6),
    "4 bits": lambda: made("uniform", bits=4),
}


def taken_apart(packed: Packed, folder: Path, raw_ids: object = None):
    path = folder / "a.safetensors"
    write_artifact(path, {"t": packed}, vocabularies={} if raw_ids is None else {"t": raw_ids})
    return content_of(read_artifact(path), None)


@pytest.mark.parametrize("metric", ["l2", "inner_product"])
@pytest.mark.parametrize("name", IN_FAISS)
def test_faiss_finds_what_the_decoded_rows_find(tmp_path, name, metric) -> None:
    packed = IN_FAISS[name]()
    content = taken_apart(packed, tmp_path)
    if metric != "l2" and "offset" in content.arrays() and content.quantizer is not None:
        with pytest.raises(ValueError, match="offset changes inner products"):
            index_of(content, metric)
        return
    found, ids = index_of(content, metric).search(QUERIES, 10)
    rows = decode(packed, np.arange(packed.num_embeddings)).astype(np.float64)
    scores = QUERIES @ rows.T if metric != "l2" else -((QUERIES[:, None] - rows) ** 2).sum(axis=2)
    if packed.padding_idx is not None:
        scores[:, packed.padding_idx] = -np.inf
        assert packed.padding_idx not in ids
    best = -np.sort(-scores, axis=1)[:, :10]
    # A rotation in 16 bits is orthogonal to three digits, and faiss searches as if it were exactly.
    near = 2e-3 if packed.arrays.get("rotation", TABLE).dtype == np.float16 else 1e-4
    np.testing.assert_allclose(found if metric != "l2" else -found, best, rtol=near, atol=near)
    np.testing.assert_allclose(np.take_along_axis(scores, ids, axis=1), best, rtol=near, atol=near)


def test_the_kinds_of_indexes_and_their_bytes(tmp_path) -> None:
    pq_index, summed, scalar = (
        index_of(taken_apart(IN_FAISS[name](), tmp_path)) for name in ("pq", "summed", "8 bits")
    )
    assert isinstance(pq_index, faiss.IndexPQ)
    assert (pq_index.pq.M, pq_index.pq.nbits, pq_index.code_size) == (4, 4, 2)
    assert isinstance(summed, faiss.IndexResidualQuantizer)
    assert summed.code_size == 2
    assert isinstance(scalar, faiss.IndexScalarQuantizer)


def test_raw_ids_are_the_ids_of_the_index(tmp_path) -> None:
    raw = 7 * np.arange(500)[::-1].copy() + 10**12
    taken_apart(IN_FAISS["pq with padding"](), tmp_path, raw)
    (path,) = export_table(tmp_path / "a.safetensors", tmp_path / "i.faiss", "faiss")
    index = faiss.read_index(str(path))
    assert index.ntotal == 499
    rows = decode(IN_FAISS["pq with padding"](), np.arange(500))
    distances, ids = index.search(rows[40:42], 1)
    assert np.abs(distances).max() < 1e-5
    assert np.array_equal(rows[np.flatnonzero(np.isin(raw, ids))][0], rows[40])
    texts = [f"item {i}" for i in range(500)]
    taken_apart(IN_FAISS["pq"](), tmp_path, texts)
    _, beside = export_table(tmp_path / "a.safetensors", tmp_path / "t.faiss", "faiss")
    assert json.loads(beside.read_text()) == texts


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (lambda: quantized(gain=8), "no gains of rows. Compress with --set gain_bits=0"),
        (lambda: skewed(), "rotation of the table is not orthogonal"),
        (lambda: made("uniform", bits=4, axis="row"), "no scales of rows. Compress with --set axis=column"),
        (lambda: made("uniform", bits=3), "no codes of 3 bits"),
    ],
)
def test_what_faiss_cannot_express_is_said(tmp_path, packed, message) -> None:
    taken_apart(packed(), tmp_path)
    with pytest.raises(ValueError, match=message):
        export_table(tmp_path / "a.safetensors", tmp_path / "out", "faiss")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", [*quantized_samples(), *more_quantized_samples()])
def test_a_table_taken_apart_is_that_table(name) -> None:
    packed = {**quantized_samples(), **more_quantized_samples()}[name]
    apart, ids = quantizer_of(packed), np.arange(packed.num_embeddings)
    kept = ids != packed.padding_idx
    assert apart is not None
    np.testing.assert_allclose(apart.rows(0, len(ids))[kept], decode(packed, ids)[kept], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("options", [{"bits": 5}, {"axis": "row", "bits": 3, "scale_bits": 16}, {"bits": 1}])
def test_scalar_codes_taken_apart_are_that_table(options) -> None:
    packed = made("uniform", **options)
    apart = scalar_codes_of(packed)
    assert apart is not None
    np.testing.assert_allclose(apart.rows(8, 100), decode(packed, np.arange(8, 100)), rtol=1e-6, atol=1e-6)


def rebuilt(about: dict, codes: np.ndarray, columns: dict, arrays: dict) -> np.ndarray:
    """Rows as a reader makes them from what a file says."""
    parts = [arrays[f"codebook.{m}"][codes[:, m]] for m in range(codes.shape[1]) if f"codebook.{m}" in arrays]
    names = {
        "concat": np.concatenate(parts, axis=1) if parts else None,
        "sum": sum(parts) if parts else None,
        "codes": codes,
        **{name: column[:, None] for name, column in columns.items()},
        **{name: array for name, array in arrays.items() if "." not in name},
    }
    row = about["row"].replace(" of codebook.<m>[codes[m]]", "")
    return eval(row, {}, names)  # noqa: S307 - the formula of our own file


EXPORTED = {
    **IN_FAISS,
    "gains": lambda: quantized(300, 12, 4, 30, gain=8),
    "summed gains": lambda: quantized(300, 12, 4, 300, "sum", gain=16, rotation=(3, 2), offset=True),
    "narrow gains": lambda: quantized(301, 12, 4, 30, gain=5),
    "rows": lambda: made("uniform", bits=4, axis="row", scale_bits=16),
}


@pytest.mark.parametrize("form", ["parquet", "arrow", "npy"])
@pytest.mark.parametrize("name", EXPORTED)
def test_rows_are_rebuilt_from_what_readers_read(tmp_path, name, form) -> None:
    packed = EXPORTED[name]()
    raw = [f"raw {i}" for i in range(packed.num_embeddings)]
    taken_apart(packed, tmp_path, raw)
    out = tmp_path / "out"
    written = export_table(tmp_path / "a.safetensors", out, form)
    assert all(path.is_file() for path in written)
    if form == "npy":
        loaded = {path.stem: np.load(path) for path in written if path.suffix == ".npy"}
        about = json.loads((out / "about.json").read_text())
        codes, ids = loaded.pop("codes"), loaded.pop("ids").tolist()
        by_id = ("gain",) if "gain" in loaded else ("offset", "step") if name == "rows" else ()
        columns = {key: loaded.pop(key) for key in by_id}
    else:
        found = pq.read_table(out) if form == "parquet" else pa.ipc.open_file(out).read_all()
        about = json.loads(found.schema.metadata[METADATA])
        codes = np.array(found["codes"].to_pylist())
        ids = found["id"].to_pylist()
        columns = {key: found[key].to_numpy() for key in found.column_names if key not in ("id", "codes")}
        beside = codebooks_of(out)
        loaded = dict(np.load(beside)) if beside.is_file() else {}
    assert ids == raw
    kept = np.arange(packed.num_embeddings) != packed.padding_idx
    rows = decode(packed, np.arange(packed.num_embeddings))
    np.testing.assert_allclose(rebuilt(about, codes, columns, loaded)[kept], rows[kept], rtol=1e-4, atol=1e-4)


def test_codes_take_the_smallest_type(tmp_path) -> None:
    for size, dtype in ((256, "uint8"), (257, "uint16")):
        taken_apart(quantized(300, 12, 4, size), tmp_path)
        export_table(tmp_path / "a.safetensors", tmp_path / str(size), "npy")
        assert np.load(tmp_path / str(size) / "codes.npy").dtype == dtype


def test_lance_builds_an_index_from_the_arrays(tmp_path) -> None:
    packed = made("dpq", num_codebooks=4, codebook_size=256)
    taken_apart(packed, tmp_path)
    export_table(tmp_path / "a.safetensors", tmp_path / "out", "lance")
    book, centroids = np.load(tmp_path / "out" / "pq_codebook.npy"), np.load(tmp_path / "out" / "centroids.npy")
    assert book.shape == (4, 256, 3)
    assert centroids.tolist() == [[0.0] * 12]
    lance = pytest.importorskip("lance")
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(TABLE.reshape(-1)), 12)
    dataset = lance.write_dataset(pa.table({"vector": vectors, "id": np.arange(500)}), tmp_path / "t.lance")
    dataset = dataset.create_index(
        "vector", "IVF_PQ", num_partitions=1, num_sub_vectors=4, ivf_centroids=centroids, pq_codebook=book
    )
    rows = decode(packed, np.arange(500)).astype(np.float64)
    for query in QUERIES:
        found = dataset.to_table(nearest={"column": "vector", "q": query, "k": 10, "nprobes": 1})
        distances = ((query - rows) ** 2).sum(axis=1)
        np.testing.assert_allclose(np.sort(distances[found["id"].to_numpy()]), np.sort(distances)[:10], rtol=1e-3)
        np.testing.assert_allclose(np.sort(found["_distance"].to_numpy()), np.sort(distances)[:10], rtol=1e-3)


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        (lambda: quantized(number=3, combine="sum"), "product quantization alone. Compress with method pq"),
        (lambda: quantized(gain=8), "no gains, rotations or offsets"),
        (lambda: quantized(size=300), "at most 256 centroids"),
        (lambda: made("uniform"), "product quantization alone"),
    ],
)
def test_what_lance_cannot_express_is_said(tmp_path, packed, message) -> None:
    taken_apart(packed(), tmp_path)
    with pytest.raises(ValueError, match=message):
        export_table(tmp_path / "a.safetensors", tmp_path / "out", "lance")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", EXPORTERS)
def test_tables_without_codes_are_refused(tmp_path, form) -> None:
    for method, options in (("full", {}), ("mgqe", {"codebook_sizes": [16, 4], "num_codebooks": 2}), ("qr", {})):
        packed = made(method, **options)
        write_artifact(tmp_path / "a.safetensors", {"t": packed, "u": packed})
        with pytest.raises(ValueError, match="does not consist of codes of one kind"):
            export_table(tmp_path / "a.safetensors", tmp_path / "out", form, "t")
    with pytest.raises(ValueError, match=r"several tables: t, u. Choose one with --table"):
        export_table(tmp_path / "a.safetensors", tmp_path / "out", form)
    with pytest.raises(ValueError, match=r"no table 'x'. Its tables: t, u"):
        export_table(tmp_path / "a.safetensors", tmp_path / "out", form, "x")
