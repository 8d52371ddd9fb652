# The public names of `slimtable.data`, each written once.
from slimtable.data.datasets import (
    Dataset as Dataset,
)
from slimtable.data.datasets import (
    fetch_dataset as fetch_dataset,
)
from slimtable.data.datasets import (
    list_datasets as list_datasets,
)
from slimtable.data.datasets import (
    load_dataset as load_dataset,
)
from slimtable.data.interactions.formats import (
    detect_format as detect_format,
)
from slimtable.data.interactions.formats import (
    read_interactions as read_interactions,
)
from slimtable.data.interactions.formats import (
    read_pairs as read_pairs,
)
from slimtable.data.interactions.formats import (
    read_train_test as read_train_test,
)
from slimtable.data.interactions.interactions import (
    Interactions as Interactions,
)
from slimtable.data.interactions.interactions import (
    frequency_order as frequency_order,
)
from slimtable.data.interactions.pairs import Pairs as Pairs
from slimtable.data.interactions.split import (
    Split as Split,
)
from slimtable.data.interactions.split import (
    fixed_split as fixed_split,
)
from slimtable.data.interactions.split import (
    holdout_split as holdout_split,
)
from slimtable.data.interactions.split import (
    k_core as k_core,
)
from slimtable.data.interactions.split import (
    leave_two_out as leave_two_out,
)
from slimtable.data.interactions.split import (
    order_by_frequency as order_by_frequency,
)
from slimtable.data.interactions.split import (
    random_split as random_split,
)
from slimtable.data.interactions.split import (
    split as split,
)
from slimtable.data.interactions.split import (
    temporal_split as temporal_split,
)
