"""Writes the files of tests/tables/files with the libraries themselves: `python tests/tables/make_fixtures.py`.

Needs recbole, implicit, lightfm (builds with `pip install --no-use-pep517`), gensim, torchrec and fbgemm-gpu-cpu, which
the tests do not need. Each part is skipped if its library is missing. `expected.npz` holds the values that each library
says its file has.
"""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import scipy.sparse
import torch

FOLDER = Path(__file__).parent / "files"
USERS, ITEMS, DIM = 12, 20, 8


def interactions() -> scipy.sparse.csr_matrix:
    draw = np.random.default_rng(0)
    return scipy.sparse.csr_matrix((draw.random((USERS, ITEMS)) < 0.4).astype(np.float32))


def recbole(expected: dict[str, np.ndarray]) -> None:
    """A checkpoint as `Trainer._save_checkpoint` writes it: the configuration is pickled beside the state."""
    sys.modules.setdefault("ray", ModuleType("ray"))  # only for tuning
    for old in ("float_", "complex_", "object_", "str_", "unicode_"):  # names that numpy 2 dropped
        if not hasattr(np, old):
            setattr(np, old, {"float_": np.float64, "complex_": np.complex128, "unicode_": np.str_}[old])
    from recbole.config import Config
    from recbole.model.general_recommender.bpr import BPR

    config = Config(model="BPR", dataset="ml-100k", config_dict={"embedding_size": DIM, "device": "cpu"})
    config["data_path"] = "dataset/ml-100k"
    config["device"] = torch.device("cpu")

    class Dataset:
        def num(self, field: str) -> int:
            return {config["USER_ID_FIELD"]: USERS, config["ITEM_ID_FIELD"]: ITEMS}[field]

    torch.manual_seed(0)
    model = BPR(config, Dataset())
    optimizer = torch.optim.Adam(model.parameters())
    model.calculate_loss(
        {"user_id": torch.arange(4), "item_id": torch.arange(4), "neg_item_id": torch.arange(4, 8)}
    ).backward()
    optimizer.step()
    state = {
        "config": config,
        "epoch": 1,
        "cur_step": 0,
        "best_valid_score": 0.1,
        "state_dict": model.state_dict(),
        "other_parameter": model.other_parameter(),
        "optimizer": optimizer.state_dict(),
    }
    torch.save(state, "recbole.pth", pickle_protocol=4)
    expected["recbole.user_embedding.weight"] = model.user_embedding.weight.detach().numpy()
    expected["recbole.item_embedding.weight"] = model.item_embedding.weight.detach().numpy()


def implicit(expected: dict[str, np.ndarray]) -> None:
    from implicit.cpu.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(factors=DIM, iterations=2, random_state=0, num_threads=1)
    model.fit(interactions(), show_progress=False)
    model.save("implicit.npz")
    expected["implicit.user_factors"], expected["implicit.item_factors"] = model.user_factors, model.item_factors


def lightfm(expected: dict[str, np.ndarray]) -> None:
    from lightfm import LightFM

    model = LightFM(no_components=DIM, random_state=0)
    model.fit(scipy.sparse.coo_matrix(interactions()), epochs=2)
    Path("lightfm.pkl").write_bytes(pickle.dumps(model))
    expected["lightfm.item_embeddings"], expected["lightfm.user_embeddings"] = (
        model.item_embeddings,
        model.user_embeddings,
    )
    biases, vectors = model.get_item_representations()
    np.savez("lightfm.npz", item_biases=biases, item_representations=vectors)
    expected["lightfm.item_representations"] = vectors


def gensim(expected: dict[str, np.ndarray]) -> None:
    from gensim.models import KeyedVectors

    vectors = KeyedVectors(DIM)
    words = [f"item {i}".replace(" ", "_") for i in range(ITEMS - 1)] + ["café"]
    vectors.add_vectors(words, np.random.default_rng(1).standard_normal((ITEMS, DIM)).astype(np.float32))
    vectors.save("gensim.kv")
    vectors.save("gensim-beside.kv", sep_limit=1)
    vectors.save_word2vec_format("word2vec.txt")
    vectors.save_word2vec_format("word2vec.bin", binary=True)
    expected["gensim"], expected["gensim.words"] = vectors.vectors, np.array(words)
    read = KeyedVectors.load_word2vec_format("word2vec.txt")
    expected["word2vec.txt"] = read.vectors


def torchrec(expected: dict[str, np.ndarray]) -> None:
    import fbgemm_gpu  # noqa: F401
    from torch.ao.quantization import PlaceholderObserver
    from torchrec import EmbeddingBagCollection
    from torchrec.modules.embedding_configs import EmbeddingBagConfig, QuantConfig
    from torchrec.quant import embedding_modules as quantized

    torch.manual_seed(0)
    tables = [
        EmbeddingBagConfig(name=f"t{i}", embedding_dim=DIM, num_embeddings=ITEMS, feature_names=[f"f{i}"])
        for i in (1, 2)
    ]
    module = EmbeddingBagCollection(tables=tables)
    torch.save(module.state_dict(), "torchrec.pt")
    weight = module.state_dict()["embedding_bags.t1.weight"].detach()
    expected["torchrec"] = weight.numpy()
    fused = {
        "fp32": torch.ops.fbgemm.FloatToFused8BitRowwiseQuantized(weight),
        "fp16": torch.ops.fbgemm.FloatToFusedNBitRowwiseQuantizedSBHalf(weight, 8),
    }
    torch.save(fused, "fbgemm.pt")
    expected["fbgemm.fp32"] = torch.ops.fbgemm.Fused8BitRowwiseQuantizedToFloat(fused["fp32"]).numpy()
    expected["fbgemm.fp16"] = torch.ops.fbgemm.FusedNBitRowwiseQuantizedSBHalfToFloat(fused["fp16"], 8).numpy()
    for split in (False, True):
        if split:
            quantized.quant_prep_enable_quant_state_dict_split_scale_bias_for_types(module, [EmbeddingBagCollection])
        observers = (PlaceholderObserver.with_args(dtype=kind) for kind in (torch.float, torch.qint8))
        module.qconfig = QuantConfig(*observers)
        small = quantized.EmbeddingBagCollection.from_float(module)
        state = {key: value.clone() for key, value in small.state_dict().items()}  # views of one array
        torch.save(state, f"torchrec-int8{'-split' if split else ''}.pt")
    codes = small.state_dict()
    name = "embedding_bags.t1.weight"
    scales, offsets = codes[f"{name}_qscale"].float(), codes[f"{name}_qbias"].float()
    expected["torchrec.int8"] = (codes[name].float() * scales + offsets).numpy()


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    os.chdir(FOLDER)  # some files remember where they were written
    target = Path("expected.npz")
    expected = dict(np.load(target)) if target.is_file() else {}
    for make in (recbole, implicit, lightfm, gensim, torchrec):
        try:
            make(expected)
        except ImportError as error:
            print(f"{make.__name__} is left out: {error}")
    np.savez_compressed(target, **expected)


if __name__ == "__main__":
    main()
