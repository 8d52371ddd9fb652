"""Papers reproduced: their tables and figures, with the paper's values beside ours."""

from slimtable.reproduce.mgqe import ITEMS, Profile, make_profile
from slimtable.reproduce.run import Reproduction, reproduce_mgqe

__all__ = ["ITEMS", "Profile", "Reproduction", "make_profile", "reproduce_mgqe"]
