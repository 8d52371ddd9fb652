"""From a run folder to a served file."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
import torch

from slimtable.embedding import get_config
from slimtable.errors import ArtifactValueError, CheckpointError
from slimtable.runs import pack_model, restore_run
from slimtable.serve import open_artifact
from slimtable.train import TrainConfig, train
from tests.test_train import METHODS, QUICK


@pytest.mark.parametrize("config", METHODS, ids=lambda c: type(c).__name__)
@pytest.mark.parametrize("epoch", ["last", "best"])
def test_trained_to_served(communities, config, epoch, tmp_path) -> None:
    """The file alone gives the scores of the trained model, and costs its bits and a header."""
    trained = train(communities, "gmf", config, QUICK, out=tmp_path / "run")
    if epoch == "best":
        trained.model.load_state_dict(trained.best_state)
    restored = restore_run(tmp_path / "run", epoch)
    assert restored.epoch == (4 if epoch == "last" else trained.best_epoch)
    path = tmp_path / "model.safetensors"
    size = pack_model(restored.model, path, vocabularies=restored.vocabularies, about={"note": 1})

    with open_artifact(path, verify=True) as artifact:
        model = trained.model.eval()
        for name, embedding in model.embeddings().items():
            served = artifact[name].weight()
            np.testing.assert_allclose(served, embedding.weight.numpy(), rtol=embedding.serve_tolerance, atol=1e-7)
            assert artifact[name].bits == embedding.bits()
        assert artifact.model == {"backbone": "gmf", "backbone_config": {}, "note": 1}
        arrays = sum(table.nbytes for table in artifact.values()) + sum(t.nbytes for t in artifact.tensors.values())
        vocabulary = 8 * (communities.num_users + communities.num_items)
        assert size == path.stat().st_size == arrays + vocabulary + artifact._opened.header_size
        assert 0 <= 8 * arrays - model.bits() < 8 * 12

        users = np.arange(communities.num_users)
        output, bias = artifact.tensors["output.weight"], artifact.tensors["output.bias"]
        scores = (artifact["user"].lookup(users) * output) @ artifact["item"].weight().T + bias
        with torch.no_grad():
            expected = model.scorer()(torch.from_numpy(users)).numpy()
        np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)

        raw = communities.train.item_vocabulary[[3, 1]]
        assert artifact["item"].ids_of(raw).tolist() == [3, 1]


def test_tables_without_vocabulary(communities, tmp_path) -> None:
    trained = train(communities, "gmf", METHODS[4], QUICK)
    with_raw = pack_model(
        trained.model,
        tmp_path / "a",
        vocabularies={"user": communities.train.user_vocabulary, "item": communities.train.item_vocabulary},
    )
    assert pack_model(trained.model, tmp_path / "b") < with_raw
    with pytest.raises(ValueError, match="no vocabulary"):
        open_artifact(tmp_path / "b")["item"].ids_of([1])


def test_nan_models_are_not_packed(communities, tmp_path) -> None:
    trained = train(communities, "gmf", METHODS[0], QUICK)
    with torch.no_grad():
        trained.model.user_embedding.table[0, 0] = float("nan")
    with pytest.raises(ArtifactValueError, match="user"):
        pack_model(trained.model, tmp_path / "file")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["nothing", "checkpoint", "settings"])
def test_folders_that_are_no_run(communities, damage, tmp_path) -> None:
    if damage != "nothing":
        train(communities, "gmf", METHODS[0], QUICK, out=tmp_path)
        (tmp_path / {"checkpoint": "checkpoint.pt", "settings": "run.json"}[damage]).write_bytes(b"not what it was")
    with pytest.raises(CheckpointError, match="no run.json" if damage == "nothing" else "damaged"):
        restore_run(tmp_path)


def test_best_epoch_needs_validation(communities, tmp_path) -> None:
    never = TrainConfig(**{**QUICK.to_dict(), "evaluate_every": 0})
    train(communities, "gmf", get_config("full"), never, out=tmp_path)
    with pytest.raises(CheckpointError, match="no best epoch"):
        restore_run(tmp_path, "best")


def test_a_vocabulary_that_does_not_fit_is_refused(communities, tmp_path) -> None:
    trained = train(communities, "gmf", METHODS[0], QUICK)
    vocabularies = {"user": communities.train.user_vocabulary, "item": communities.train.item_vocabulary[:-1]}
    with pytest.raises(ValueError, match="Table item has 40 rows, which does not fit a vocabulary of 39 items"):
        pack_model(trained.model, tmp_path / "file", vocabularies=vocabularies)


def test_a_flipped_bit_in_a_checkpoint_is_found(communities, tmp_path) -> None:
    """PyTorch does not look at the checksums of its own archives."""
    train(communities, "gmf", METHODS[0], QUICK, out=tmp_path)
    path = tmp_path / "checkpoint.pt"
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda part: part.file_size)
    content[largest.header_offset + 400] ^= 0x10  # past the local header and its padding, inside the values
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="is not what was written"):
        restore_run(tmp_path)
