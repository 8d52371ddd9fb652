"""Training and evaluation of CTR models; a step costs only what its batch touches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from slimtable.config import Config, Count, NotNegative, Positive, PositiveInt
from slimtable.data.clicks.clicks import Clicks
from slimtable.embeddings.base import CompressedEmbedding
from slimtable.embeddings.modes import evaluating
from slimtable.models.ctr import CTRModel
from slimtable.models.parts.fields import CTRBatch
from slimtable.training import metrics
from slimtable.training.optimizers import RowAdam, RowOptimizer, RowwiseAdagrad


@dataclass(frozen=True)
class CTRTrainConfig(Config):
    """Settings for training a CTR model.

    Attributes:
        epochs: passes over the clicks.
        batch_size: impressions per step.
        learning_rate: learning rate of Adam, for the layers outside the tables.
        row_optimizer: optimizer of rows with sparse gradients: rowwise "adagrad", or "adam" on the rows of a batch.
        row_learning_rate: learning rate of that optimizer.
        table_learning_rate: learning rate of Adam, for tables whose method has no sparse gradients.
        weight_decay: L2 penalty; applied to rows when a batch touches them.
        seed: seed of all randomness.
        shuffle: shuffle the clicks in every epoch; otherwise keep their order.
        device: "cpu" or a CUDA device.

    Raises:
        ValueError: a number is out of range.
    """

    epochs: PositiveInt = 1
    batch_size: PositiveInt = 512
    learning_rate: Positive = 1e-3
    row_optimizer: Literal["adagrad", "adam"] = "adagrad"
    row_learning_rate: Positive = 0.02
    table_learning_rate: Positive = 1e-3
    weight_decay: NotNegative = 0.0
    seed: Count = 0
    shuffle: bool = True
    device: str = "cpu"


class CTRTrainer:
    """Trains a model in place; :meth:`fit` may be called again with more clicks, and keeps the optimizer state.

    Tables use sparse gradients from now on if their method can. Each epoch has its own seeds, so that
    ``model.state_dict()`` and :meth:`state_dict` suffice to continue bit for bit.

    Args:
        model: the model to train.
        config: settings; None for the defaults.

    Raises:
        ValueError: nothing in the model can be trained, as in a model from a packed file.
    """

    def __init__(self, model: CTRModel, config: CTRTrainConfig | None = None) -> None:
        if not any(parameter.requires_grad for parameter in model.parameters()):
            raise ValueError("Nothing in this model can be trained. Train the one that was packed.")
        self.model = model
        self.config = config = config if config is not None else CTRTrainConfig()
        model.to(config.device)
        self.epochs_done = 0
        self._tables = [t for t in model.fields.embeddings().values() if isinstance(t, CompressedEmbedding)]
        for table in self._tables:
            table.sparse = True
        rows = _unique(parameter for table in self._tables for parameter in table.row_parameters())
        others = _unique(parameter for table in self._tables for parameter in table.parameters())
        of_tables = {id(parameter) for parameter in [*rows, *others]}
        row_ids = {id(parameter) for parameter in rows}
        groups = [
            {"params": [p for p in model.parameters() if id(p) not in of_tables], "lr": config.learning_rate},
            {"params": [p for p in others if id(p) not in row_ids], "lr": config.table_learning_rate},
        ]
        self.row_optimizer: RowOptimizer | None = None
        if rows:
            optimizer = RowwiseAdagrad if config.row_optimizer == "adagrad" else RowAdam
            self.row_optimizer = optimizer(rows, lr=config.row_learning_rate, weight_decay=config.weight_decay)
        self.optimizer = torch.optim.Adam(
            [group for group in groups if group["params"]], weight_decay=config.weight_decay, fused=True
        )

    def fit(
        self,
        clicks: Clicks,
        *,
        epochs: int | None = None,
        on_batch: Callable[[int, int], None] | None = None,
        end_epochs: bool = True,
    ) -> list[float]:
        """Trains on clicks.

        Args:
            clicks: ids must be below the sizes of the tables.
            epochs: passes over them; None as in the configuration.
            on_batch: called after every step with its number in the epoch, from 1, and the number of steps.
            end_epochs: call ``end_epoch`` of the tables after each epoch; False if the caller does.

        Returns:
            The mean log loss of each epoch, averaged over its training steps, without the penalties of methods.

        Raises:
            ValueError: there are no clicks, the number of epochs is negative, tables of the model were replaced after
                this trainer was created, or the loss is NaN because training diverged.
            IndexError: an id is out of range.
        """
        if not len(clicks):
            raise ValueError("There is nothing to train on: there are no clicks.")
        epochs = self.config.epochs if epochs is None else epochs
        if epochs < 0:
            raise ValueError(f"`epochs` must not be negative, got {epochs}.")
        present = {id(parameter) for parameter in self.model.parameters()}
        if any(id(parameter) not in present for parameter in self._parameters()):
            raise ValueError(
                "Tables of the model were replaced after this trainer was created, by growing or by loading a state of "
                "other sizes. Create the trainer afterwards, or pass it to `grow_`."
            )
        devices = [] if self.config.device == "cpu" else [torch.device(self.config.device)]
        with torch.random.fork_rng(devices=devices):
            return [self._epoch(clicks, on_batch, end_epochs) for _ in range(epochs)]

    def _epoch(self, clicks: Clicks, on_batch: Callable[[int, int], None] | None, end_epochs: bool) -> float:
        config = self.config
        seeds = [config.seed, self.epochs_done]
        torch.manual_seed(int(np.random.SeedSequence(seeds).generate_state(1)[0]))
        if config.shuffle:
            clicks = clicks.take(np.random.default_rng(seeds).permutation(len(clicks)))
        self.model.train()
        penalized = [table for table in self._tables if type(table).penalty is not CompressedEmbedding.penalty]
        steps = -(-len(clicks) // config.batch_size)
        total = torch.zeros((), dtype=torch.float64, device=config.device)
        for step, batch in enumerate(_batches(clicks, config.batch_size, config.device), start=1):
            objective = loss = F.binary_cross_entropy_with_logits(self.model(batch), batch.labels)
            for table in penalized:
                objective = objective + table.penalty()
            self.optimizer.zero_grad()
            if self.row_optimizer is not None:
                self.row_optimizer.zero_grad()
            objective.backward()
            self.optimizer.step()
            if self.row_optimizer is not None:
                self.row_optimizer.step()
            total += loss.detach() * len(batch.labels)
            if on_batch is not None:
                on_batch(step, steps)
        for table in self._tables if end_epochs else ():
            table.end_epoch()
        self.epochs_done += 1
        mean = float(total) / len(clicks)
        if not np.isfinite(mean):
            raise ValueError("The loss of an epoch is not a number: training diverged. Lower the learning rates.")
        return mean

    def replace_rows_(self, old: Tensor, new: Tensor) -> None:
        """Replaces a table by a longer one, and extends its optimizer state."""
        if self.row_optimizer is None:
            raise ValueError("No rows are trained here, so none can be replaced.")
        self.row_optimizer.grow_(old, new)

    def state_dict(self) -> dict[str, Tensor]:
        """The training state besides ``model.state_dict()``, as plain tensors by name, not copied."""
        state = {"epochs_done": torch.tensor(self.epochs_done)}
        for optimizer, name, parameter in self._trained():
            for key, value in optimizer.state.get(parameter, {}).items():
                state[f"{name}:{key}"] = value
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restores the training state of a model of the same shape; restore the model by ``model.load_state_dict``.

        Args:
            state: output of :meth:`state_dict`.

        Raises:
            ValueError: it does not belong to such a model.
        """
        if "epochs_done" not in state:
            raise ValueError("This is not the state of a CTRTrainer: it has no epochs_done.")
        trained = {name: (optimizer, parameter) for optimizer, name, parameter in self._trained()}
        found: dict[str, dict[str, Tensor]] = {}
        for full_name, value in state.items():
            name, _, key = full_name.partition(":")
            if name == "epochs_done":
                continue
            if name not in trained:
                raise ValueError(f"The state names a parameter {name}, which this model does not train.")
            parameter = trained[name][1]
            if value.ndim and len(value) != len(parameter):
                raise ValueError(f"The state of {name} has {len(value)} rows, but the parameter {len(parameter)}.")
            if value.ndim > 1 and value.shape != parameter.shape:
                raise ValueError(
                    f"The state of {name} has shape {tuple(value.shape)}, but the parameter {tuple(parameter.shape)}."
                )
            found.setdefault(name, {})[key] = value.detach().to(parameter.device).clone()
        for name, (optimizer, parameter) in trained.items():
            optimizer.state.pop(parameter, None)
            if name in found:
                optimizer.state[parameter] = found[name]
        self.epochs_done = int(state["epochs_done"])

    def _parameters(self) -> Iterator[Tensor]:
        """Each trained parameter."""
        optimizers = [self.optimizer] if self.row_optimizer is None else [self.optimizer, self.row_optimizer]
        return (p for optimizer in optimizers for group in optimizer.param_groups for p in group["params"])

    def _trained(self) -> Iterator[tuple[torch.optim.Optimizer, str, Tensor]]:
        """Each trained parameter, its name and its optimizer."""
        optimizers = [self.optimizer] if self.row_optimizer is None else [self.optimizer, self.row_optimizer]
        owner = {
            id(p): optimizer for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]
        }
        for name, parameter in self.model.named_parameters():
            if id(parameter) in owner:
                yield owner[id(parameter)], name, parameter


def predict(model: CTRModel, clicks: Clicks, batch_size: int = 8192) -> np.ndarray:
    """Probabilities of a click, from the tables as served; keeps the mode of the model.

    Args:
        model: any CTR model.
        clicks: ids must be below the sizes of the tables; the labels are ignored.
        batch_size: rows per batch.

    Returns:
        float64 (n,).

    Raises:
        IndexError: an id is out of range.
    """
    device = next(model.parameters()).device
    probabilities = np.empty(len(clicks))
    with evaluating(model), torch.no_grad():
        for number, batch in enumerate(_batches(clicks, batch_size, device)):
            start = number * batch_size
            logits = model(batch).double()
            probabilities[start : start + len(logits)] = torch.sigmoid(logits).cpu().numpy()
    return probabilities


def evaluate_clicks(model: CTRModel, clicks: Clicks) -> dict[str, float]:
    """Metrics of predicted clicks.

    Args:
        model: any CTR model.
        clicks: the actual clicks.

    Returns:
        "auc", "log_loss", "calibration", "relative_information_gain" (see :mod:`slimtable.training.metrics`; some are
        NaN if all labels are equal) and "rows".
    """
    probabilities = predict(model, clicks)
    measures = (metrics.auc, metrics.log_loss, metrics.calibration, metrics.relative_information_gain)
    return {**{measure.__name__: measure(clicks.labels, probabilities) for measure in measures}, "rows": len(clicks)}


def _batches(clicks: Clicks, batch_size: int, device: str | torch.device) -> Iterator[CTRBatch]:
    for start in range(0, len(clicks), batch_size):
        yield CTRBatch.from_clicks(clicks.slice(start, start + batch_size), device)


def _unique(parameters: Iterator[Tensor]) -> list[Tensor]:
    """The parameters in order, each once: fields may share a table."""
    return list({id(parameter): parameter for parameter in parameters}.values())
