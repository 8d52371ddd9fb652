"""Papers reproduced: their tables and figures, with the paper's values beside ours."""

from studies.baco.study import BACO
from studies.mgqe.study import MGQE
from studies.run import Reproduction, reproduce
from studies.saec.study import Saec

__all__ = ["BACO", "MGQE", "Reproduction", "Saec", "reproduce"]
