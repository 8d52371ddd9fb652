"""What captions say of the experiments on Saec, and of how they were made."""

from __future__ import annotations

from studies.saec.experiments import BOUND, FEWER, OTHER_RATES, RATIO

SOURCE = (
    "Wu, Xu, Zhang, Chen and Wang 2020 (arXiv 1903.00103). The data and the code of the paper are private and its "
    "abstract and poster say little of the method, so this is a reconstruction on public logs, and only the promises "
    "of the poster can be compared."
)

WINDOWS = (
    "Protocol: 8 equal windows in the order of time, every value with a vector (minimum count 1), d = 16. The "
    "uncompressed model is trained on a window, going on from the one before, compressed, tested on the next window, "
    "which nobody has trained on, trained on, and tested again; then it goes on uncompressed. Values not seen yet are "
    "out of vocabulary. Figures are means over the 7 tested windows, ± standard deviation over seeds, which differ in "
    "initialisation and order; differences are paired by seed with their 95 % interval by Student's t."
)
SPLIT = (
    "Protocol: 80 % of the rows to train on, 10 % to stop by (log loss, patience 2) and 10 % to test on, d = 16; "
    "seeds differ in split, initialisation and order. The compressed model is trained on for three epochs at falling "
    "rates."
)
SIZES_COUNTED = (
    f"Sizes count everything that is served: rows, maps, scales, codes, codebooks and tiers, against float32 tables "
    f"of d = 16 of all values known by then; kB and vectors are those of the last window, times smaller and fewer "
    f"those of the worst one. Tables of Saec have the most rows that keep 1/{RATIO:g} of the bytes and 1/{FEWER:g} of "
    f"the vectors in every window; rows of fields are in proportion to a power of their values, so small fields stay "
    f"whole."
)
ROWS = (
    "Saec, as reconstructed: plain distances, float32 rows, retraining on the clicks of the window. Soft labels: "
    "retraining on the predictions of the uncompressed model for the same clicks, as all other compressed tables here "
    "too. Ours: also distances by what errors cost in log loss, rows in 8 bits with their scales, small fields in 8 "
    "bits. Tables quantized after training are trained on in the same way."
)
TRAINED = (
    f"Hashing, own rows for the head, double hashing and quotient–remainder are trained end to end over all windows. "
    f"Their tables are sized for 1/{RATIO:g} of the last vocabulary from the start, and the head is that of all "
    f"windows: advantages that no system could have. Fields of fewer than 100 values stay uncompressed there."
)
PRIMES = (
    "DeepFM's tables are one wider than d, by the first-order weight: 17 columns, a prime, so that PQ and MGQE have "
    "one codebook per column or one in all."
)
WITHIN = f"“within {BOUND:g}”: mean AUC falls, and mean log loss rises, by no more than that."
CHOSEN = (
    "Learning rates and batch sizes were chosen on uncompressed models of d = 16, seed 0, by log loss on the tested "
    f"windows. Tables of other widths, and those that are hashed, have the best of {len(OTHER_RATES)} row learning "
    "rates in every cell ("
    + ", ".join(f"{factor:g}" for factor in OTHER_RATES)
    + " times that one), by log loss on the windows that they are tested on."
)
NEW = (
    "Served by the compressed and retrained model, windows 2 to 7 (MovieTweetings and Criteo have new values in "
    "each). “First seen in the window before”: impressions with a value that the model met in its last window only. "
    "“Never seen”: those with a value that it has not met; the mean is then taken over the other values of that very "
    "request, and neither labels nor other requests are looked at."
)
MOVING = (
    "Each window continues from the rows and assignments of the one before, or groups are made anew. Moves are "
    "counted by number of the row, as a delta has to; rows are trained on in every window, so all of them are in the "
    "delta. Files and deltas hold the network too."
)
SECONDS = (
    "Means over windows and seeds, one thread, on whatever else the machine was doing; sensitivity is what measures "
    "the cost of errors, allocate what splits the budget over fields."
)
QUICK = "A quick version: one seed, few rows; MovieLens-1M with DeepFM alone, for two epochs."
