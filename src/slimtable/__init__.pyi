# The public names, each written once: type checkers read them here, and `__init__.py` imports from here.
from slimtable._version import __version__ as __version__
from slimtable.artifact.file import (
    verify_artifact as verify_artifact,
)
from slimtable.artifact.file import (
    write_artifact as write_artifact,
)
from slimtable.bench import run_bench as run_bench
from slimtable.compress import compress_ as compress_
from slimtable.data import (
    Interactions as Interactions,
)
from slimtable.data import (
    load_dataset as load_dataset,
)
from slimtable.data.clicks.parts import ClickParts as ClickParts
from slimtable.data.clicks.parts import load_click_parts as load_click_parts
from slimtable.embeddings.base import CompressedEmbedding as CompressedEmbedding
from slimtable.embeddings.fitting import fit_budget as fit_budget
from slimtable.embeddings.table import EmbeddingTable as EmbeddingTable
from slimtable.errors import (
    ArtifactChecksumError as ArtifactChecksumError,
)
from slimtable.errors import (
    ArtifactError as ArtifactError,
)
from slimtable.errors import (
    ArtifactFormatError as ArtifactFormatError,
)
from slimtable.errors import (
    ArtifactValueError as ArtifactValueError,
)
from slimtable.errors import (
    ArtifactVersionError as ArtifactVersionError,
)
from slimtable.errors import (
    BudgetError as BudgetError,
)
from slimtable.errors import (
    CheckpointError as CheckpointError,
)
from slimtable.errors import (
    DatasetError as DatasetError,
)
from slimtable.errors import (
    DatasetNotFoundError as DatasetNotFoundError,
)
from slimtable.errors import (
    SlimtableError as SlimtableError,
)
from slimtable.grouping import (
    InteractionGraph as InteractionGraph,
)
from slimtable.grouping import (
    RowMap as RowMap,
)
from slimtable.grouping import (
    group as group,
)
from slimtable.methods.baco import (
    BACO as BACO,
)
from slimtable.methods.baco import (
    BACOConfig as BACOConfig,
)
from slimtable.methods.cce import (
    CCE as CCE,
)
from slimtable.methods.cce import (
    CCEConfig as CCEConfig,
)
from slimtable.methods.double_graph_hash import (
    DoubleGraphHash as DoubleGraphHash,
)
from slimtable.methods.double_graph_hash import (
    DoubleGraphHashConfig as DoubleGraphHashConfig,
)
from slimtable.methods.double_hash import (
    DoubleHash as DoubleHash,
)
from slimtable.methods.double_hash import (
    DoubleHashConfig as DoubleHashConfig,
)
from slimtable.methods.dpq import (
    DPQ as DPQ,
)
from slimtable.methods.dpq import (
    DPQConfig as DPQConfig,
)
from slimtable.methods.full import (
    Full as Full,
)
from slimtable.methods.full import (
    FullConfig as FullConfig,
)
from slimtable.methods.hybrid_hash import (
    HybridHash as HybridHash,
)
from slimtable.methods.hybrid_hash import (
    HybridHashConfig as HybridHashConfig,
)
from slimtable.methods.legcf import (
    LEGCF as LEGCF,
)
from slimtable.methods.legcf import (
    LEGCFConfig as LEGCFConfig,
)
from slimtable.methods.low_rank import (
    LowRank as LowRank,
)
from slimtable.methods.low_rank import (
    LowRankConfig as LowRankConfig,
)
from slimtable.methods.mgqe import (
    MGQE as MGQE,
)
from slimtable.methods.mgqe import (
    MGQEConfig as MGQEConfig,
)
from slimtable.methods.qr import (
    QR as QR,
)
from slimtable.methods.qr import (
    QRConfig as QRConfig,
)
from slimtable.methods.saec import (
    Saec as Saec,
)
from slimtable.methods.saec import (
    SaecConfig as SaecConfig,
)
from slimtable.methods.shared import (
    Shared as Shared,
)
from slimtable.methods.shared import (
    SharedConfig as SharedConfig,
)
from slimtable.methods.uniform import (
    Uniform as Uniform,
)
from slimtable.methods.uniform import (
    UniformConfig as UniformConfig,
)
from slimtable.models.ctr import CTRModel as CTRModel
from slimtable.models.ctr import build_ctr_model as build_ctr_model
from slimtable.serve import (
    Artifact as Artifact,
)
from slimtable.serve import (
    open_artifact as open_artifact,
)
from slimtable.training.ctr_run import CTRRunConfig as CTRRunConfig
from slimtable.training.ctr_trainer import (
    CTRTrainConfig as CTRTrainConfig,
)
from slimtable.training.ctr_trainer import (
    CTRTrainer as CTRTrainer,
)
from slimtable.training.ctr_trainer import (
    evaluate_clicks as evaluate_clicks,
)
from slimtable.training.distillation import soften as soften
from slimtable.training.evaluation import evaluate as evaluate
from slimtable.training.field_budget import compress_to_budget as compress_to_budget
from slimtable.training.packing import load_model as load_model
from slimtable.training.packing import pack_model as pack_model
from slimtable.training.trainer import (
    TrainConfig as TrainConfig,
)
from slimtable.training.trainer import (
    train as train,
)
