"""From a run folder to a served file."""

from __future__ import annotations

import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from slimtable import Full, load_model, verify_artifact, write_artifact
from slimtable.artifact.packed import Packed
from slimtable.data.interactions.interactions import Interactions
from slimtable.data.interactions.split import Split, leave_two_out, order_by_frequency
from slimtable.embeddings.base import get_config
from slimtable.embeddings.frozen import FrozenEmbedding
from slimtable.errors import ArtifactChecksumError, ArtifactError, ArtifactValueError, CheckpointError
from slimtable.models.base import build, get_ranker, model_names, ranker_names
from slimtable.models.neumf import NeuMFConfig
from slimtable.models.sasrec import SASRecConfig
from slimtable.serve import open_artifact
from slimtable.training.evaluation import evaluate
from slimtable.training.packing import pack_model, restore_run
from slimtable.training.trainer import TrainConfig, train
from tests.training.test_trainer import METHODS, QUICK


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


# From the file back to a recommender.

OPTIONS = {"neumf": NeuMFConfig(layers=(8, 8, 4)), "sasrec": SASRecConfig(max_length=8, num_blocks=1)}
SHORT = replace(QUICK, epochs=2, batch_size=128)


def raw_ids(split) -> dict[str, np.ndarray]:
    return {"user": split.train.user_vocabulary, "item": split.train.item_vocabulary}


@pytest.fixture(scope="module")
def hundred_users() -> Split:
    """100 users with 12 of 60 items each, in time order."""
    generator = np.random.default_rng(0)
    items = np.concatenate([generator.permutation(60)[:12] for _ in range(100)])
    interactions = Interactions.from_raw(np.repeat(np.arange(100), 12), items, chronological=True)
    return order_by_frequency(leave_two_out(interactions))


@pytest.mark.parametrize("config", METHODS, ids=lambda c: type(c).__name__)
@pytest.mark.parametrize("model_name", model_names("ranking"))
def test_the_file_recommends_what_the_trained_model_does(hundred_users, model_name, config, tmp_path) -> None:
    trained = train(hundred_users, model_name, config, SHORT, model_config=OPTIONS.get(model_name)).model.eval()
    pack_model(trained, tmp_path / "model", vocabularies=raw_ids(hundred_users))
    verify_artifact(tmp_path / "model")
    before = torch.random.get_rng_state()
    served = load_model(tmp_path / "model", verify=True)
    assert torch.equal(before, torch.random.get_rng_state())
    assert not any(module.training for module in served.modules())
    assert all(isinstance(table, FrozenEmbedding) for table in served.embeddings().values())
    assert served.bits() == trained.bits()
    assert served.config == trained.config

    users, history = torch.arange(hundred_users.num_users), hundred_users.history("test")
    with torch.no_grad():
        expected = trained.scorer(history)(users)
    scores = served.scorer(history)(users)
    tolerance = max(table.serve_tolerance for table in trained.embeddings().values())
    torch.testing.assert_close(scores, expected, rtol=10 * tolerance, atol=10 * tolerance * expected.abs().max().item())
    assert torch.equal(scores.topk(10).indices, expected.topk(10).indices)
    assert evaluate(served, hundred_users) == evaluate(trained, hundred_users)


def test_half_precision_and_default_layers(communities, tmp_path) -> None:
    model = build("neumf", 80, 40, 8, get_config("full")).half().eval()
    pack_model(model, tmp_path / "model", vocabularies=raw_ids(communities))
    served = load_model(tmp_path / "model")
    assert served.config == NeuMFConfig()
    for name, value in served.dense_tensors().items():
        np.testing.assert_array_equal(value, model.dense_tensors()[name].astype(np.float32))


@pytest.mark.parametrize("kind", ["numbers", "texts"])
def test_raw_ids_of_a_table_with_a_padding_row(kind, tmp_path) -> None:
    generator = np.random.default_rng(0)
    numbers = generator.permutation(12)[np.arange(60) % 12]
    items = 3 * numbers if kind == "numbers" else np.array([f"item {i}" for i in numbers])
    split = order_by_frequency(
        leave_two_out(Interactions.from_raw(np.repeat(np.arange(10), 6), items, chronological=True))
    )
    model = build("sasrec", 10, 12, 8, get_config("full"), OPTIONS["sasrec"])
    pack_model(model, tmp_path / "model", vocabularies=raw_ids(split))
    with open_artifact(tmp_path / "model", verify=True) as artifact:
        table = artifact["item"]
        assert table.ids_of(split.train.item_vocabulary).tolist() == list(range(1, 13))
        placeholder = table.vocabulary[0]
        assert placeholder == (-(2**63) if kind == "numbers" else "<padding>")
        assert not table.lookup(table.ids_of([placeholder])).any()


@pytest.mark.parametrize(
    ("raw", "placeholder"),
    [
        (np.array([5, -(2**63), 7, 1 - 2**63]), 2 - 2**63),
        (np.array(["", "<padding>", "x", "<padding>_"]), "<padding>__"),
    ],
    ids=["numbers", "texts"],
)
def test_the_raw_id_of_the_padding_row_is_never_one_of_the_data(raw, placeholder, tmp_path) -> None:
    model = build("sasrec", 2, 4, 8, get_config("full"), OPTIONS["sasrec"])
    pack_model(model, tmp_path / "model", vocabularies={"user": np.arange(2), "item": raw})
    table = open_artifact(tmp_path / "model")["item"]
    assert list(table.vocabulary) == [placeholder, *raw.tolist()]
    assert table.ids_of(raw).tolist() == [1, 2, 3, 4]


def packed_again(path, change) -> None:
    """Write a packed model anew with something changed: tables, tensors or model."""
    opened = verify_artifact(path)
    parts = {
        "tables": {name: Packed(**{**table.__dict__, "arrays": {k: v.copy() for k, v in table.arrays.items()}})
                   for name, table in opened.tables.items()},
        "tensors": {name: tensor.copy() for name, tensor in opened.tensors.items()},
        "model": dict(opened.model),
    }  # fmt: skip
    change(**parts)
    write_artifact(path, parts["tables"], tensors=parts["tensors"], model=parts["model"])


CHANGES = {
    "names no model": lambda model, **_: model.clear(),
    f"no model .bert.. Known models: {', '.join(model_names())}": lambda model, **_: model.update(backbone="bert"),
    "SASRecConfig has no option layers": lambda model, **_: model.update(
        backbone="sasrec", backbone_config={"layers": [4, 2]}
    ),
    "missing a required argument: 'user_embedding'": lambda tables, **_: tables.pop("user"),
    "unexpected keyword argument 'film_embedding'": lambda tables, **_: tables.update(film=tables["item"]),
    "equally wide; got 8 and 4": lambda tables, **_: tables.update(item=Full(40, 4).pack()),
    r"not those of the model \(output.bias\)": lambda tensors, **_: tensors.pop("output.bias"),
    r"output.bias has shape \(2,\) instead of \(1,\)": lambda tensors, **_: tensors.update(
        {"output.bias": np.zeros(2, np.float32)}
    ),
}


@pytest.mark.parametrize("message", CHANGES)
def test_files_that_hold_no_usable_recommender(message, tmp_path) -> None:
    path = tmp_path / "model"
    pack_model(build("gmf", 80, 40, 8, get_config("full")), path)
    packed_again(path, CHANGES[message])
    with pytest.raises(ArtifactError, match=message) as caught:
        load_model(path)
    assert str(path) in str(caught.value)


def test_tables_of_different_lengths_are_refused(tmp_path) -> None:
    path = tmp_path / "model"
    pack_model(build("neumf", 80, 40, 8, get_config("full")), path)
    packed_again(path, lambda tables, **_: tables.update(item_mlp=Full(41, 8).pack()))
    with pytest.raises(ArtifactError, match="its tables are of 40 and 41 items"):
        load_model(path)


def test_verification_is_asked_for(tmp_path) -> None:
    path = tmp_path / "model"
    pack_model(build("gmf", 80, 40, 8, get_config("full")), path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactChecksumError):
        load_model(path, verify=True)
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "none")


def test_the_first_table_of_every_model_is_of_full_width() -> None:
    """What packing and loading go by."""
    for name in ranker_names():
        model_name = get_ranker(name)
        assert model_name.table_specs(5, 6, 12, model_name.config_class())[0].embedding_dim == 12
