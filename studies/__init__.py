"""Papers reproduced, with their values beside ours, and codecs compared."""

from studies.baco.study import BACO
from studies.codecs.study import Codecs
from studies.mgqe.study import MGQE
from studies.run import Reproduction, reproduce
from studies.saec.study import Saec

__all__ = ["BACO", "MGQE", "Codecs", "Reproduction", "Saec", "reproduce"]
