"""Papers reproduced: their tables and figures, with the paper's values beside ours."""

from studies.baco.study import reproduce_baco
from studies.mgqe.experiments import ITEMS, Profile, make_profile
from studies.mgqe.study import reproduce_mgqe
from studies.run import Reproduction
from studies.saec.study import reproduce_saec

__all__ = ["ITEMS", "Profile", "Reproduction", "make_profile", "reproduce_baco", "reproduce_mgqe", "reproduce_saec"]
