"""Papers reproduced: their tables and figures, with the paper's values beside ours."""

from slimtable.reproduce.baco_study import reproduce_baco
from slimtable.reproduce.mgqe import ITEMS, Profile, make_profile
from slimtable.reproduce.mgqe_study import reproduce_mgqe
from slimtable.reproduce.run import Reproduction
from slimtable.reproduce.saec_study import reproduce_saec

__all__ = ["ITEMS", "Profile", "Reproduction", "make_profile", "reproduce_baco", "reproduce_mgqe", "reproduce_saec"]
