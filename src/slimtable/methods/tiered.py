"""Two methods for one table after training: a fine one for frequent ids, and a coarse one for the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from slimtable.codecs.base import Codec
from slimtable.codecs.tiered import CodecOf
from slimtable.codecs.tiered import Tiered as TieredCodec
from slimtable.config import Count, Share
from slimtable.embeddings.base import CodecConfig, MethodConfig, get_config, register
from slimtable.embeddings.post_training import PostTraining
from slimtable.specs import parse_spec


@dataclass(frozen=True)
class TieredConfig(CodecConfig):
    """Options of tiered tables.

    Attributes:
        head: method of the frequent ids with its options; one that compresses a trained table by a codec.
        tail: method of the other ids with its options.
        head_share: share of the ids that are in the head, in order of frequency.
        head_rows: number of ids in the head, in place of their share. A budget sets this option.
        min_frequency: in place of the share, ids that occur at least so often are in the head.
    """

    head: str = "rabitq[bits=4]"
    tail: str = "rabitq[bits=2;gain=least_squares]"
    head_share: Share = 0.1
    head_rows: Count | None = None
    min_frequency: Count = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_frequency and self.head_rows is not None:
            raise ValueError("`TieredConfig` takes either head_rows or min_frequency, not both.")
        self._part("head"), self._part("tail")

    def codec(self, num_embeddings: int, embedding_dim: int) -> TieredCodec:
        rows = self.head_rows if self.head_rows is not None else round(self.head_share * num_embeddings)
        rows = 0 if self.min_frequency else min(rows, num_embeddings)
        head, tail = self._codec_of("head"), self._codec_of("tail")
        sizes = (num_embeddings,) if self.min_frequency else (rows, num_embeddings - rows)
        parts = [part(size, embedding_dim) for part, size in zip((head, tail), sizes * 2, strict=False) if size]
        return TieredCodec(head, tail, rows, self.min_frequency, all(part.exact_size for part in parts))

    def sizes(self, num_embeddings: int, embedding_dim: int) -> Sequence[Self]:
        config, heads = replace(self, min_frequency=0), range(num_embeddings)
        if num_embeddings > 2:
            ends = [
                replace(config, head_rows=rows).table_bits(num_embeddings, embedding_dim) for rows in (1, heads[-1])
            ]
            if ends[0] > ends[1]:  # the head is the coarser part
                heads = heads[:0:-1]
        return _HeadsOfSizes(config, heads)

    def _part(self, name: str) -> MethodConfig:
        method, options = parse_spec(getattr(self, name))
        if method == Tiered.method:
            raise ValueError(f"`TieredConfig.{name}` must be a method without tiers, got {method}.")
        return get_config(method, options)

    def _codec_of(self, name: str) -> CodecOf:
        return _CodecOfPart(self._part(name), f"TieredConfig.{name}")


@dataclass(frozen=True)
class _CodecOfPart:
    """The codec of a part, which its size decides."""

    config: MethodConfig
    option: str

    def __call__(self, num_embeddings: int, embedding_dim: int) -> Codec:
        codec = self.config.codec(num_embeddings, embedding_dim)
        if codec is None:
            raise ValueError(f"`{self.option}` must be a method with a codec, which {self.config} has not.")
        return codec


class _HeadsOfSizes(Sequence):
    """A configuration with each of some numbers of ids in the head; it is created on access."""

    def __init__(self, config: TieredConfig, heads: range) -> None:
        self._config, self._heads = config, heads

    def __len__(self) -> int:
        return len(self._heads)

    def __getitem__(self, index: Any) -> Any:
        return replace(self._config, head_rows=self._heads[index])


@register("tiered")
class Tiered(PostTraining):
    """Trains as a dense table; when packed, frequent ids are coded by one method and the others by another.

    Bits: those of both parts, and N if ids are not sorted by frequency. Rows of rare ids matter less where few ids have
    most of the occurrences; where occurrences are spread evenly, one method for all ids is better.
    """

    config_class = TieredConfig
    config: TieredConfig
