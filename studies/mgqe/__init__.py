"""The MGQE paper, reproduced."""
