"""What captions say of how our tables and figures were made."""

from __future__ import annotations

from studies.tables import MARGIN_ERROR, MARGIN_POINTS

VERDICTS = (
    "The verdict goes by the 95 % interval (Student's t) of the difference to full, paired by seed: better or worse "
    "where it leaves zero out, matches where it holds zero and no loss of "
    f"{MARGIN_POINTS:g} points of HR@10 ({100 * MARGIN_ERROR:g} % of full's RMSE) or more, else undecided. Figures are "
    "mean ± standard deviation over seeds, after the last epoch, which is fixed beforehand; best epoch is the one that "
    "the validation part prefers among those that were validated. The paper does not say which it reports."
)

COMPACT = (
    "Tables are the embedding tables alone, every bit served over that of full float32 tables; size is the whole "
    "model's. The compact preset has codes of 5, 3 and 2 bits a value for the most frequent 10 %, the next 50 % and "
    "the other 40 % of the ids, and half-precision codebooks. Its tables train as full ones do in their dense epochs "
    "(20 unless a label says otherwise), then k-means places the centroids, and epochs that are left train both."
)

STAND_IN = (
    "The paper's app-to-app relevance data (AAR) is private. The scores here are synthetic stand-ins, made from other "
    "data and judged by nobody: 100 × normalized pointwise mutual information of films that the same users watched "
    "(MovieLens-1M), and 100 × adjusted cosine of films' ratings (MovieTweetings). RMSE is NOT comparable with the "
    "paper's; only the order of the methods can be."
)

SIZES = (
    "Size is that of the whole model over the uncompressed one at d = {width}. Bars are one standard deviation where "
    "there are several seeds; for RMSE, lower is better, and errors far above the others are named at the edge. What "
    "the tables hold, and uniform, are means over their seeds, every other point is seed 0 alone: small steps between "
    "them mean nothing."
)

FILMS = (
    "Two disjoint sets of {films} films, {each} of each genre, drawn with seed 0; a film with several of the four "
    "genres counts as the one that has the fewest films. A cell is the mean number of positions at which the item "
    "codes of two films, one of each set, are equal; colours are relative to the mean between genres, on one scale. "
    "The contrast is the mean of the diagonal minus that of the rest."
)

QUICK = (
    "Quick version: fewer epochs in larger steps, mostly with one seed. It shows that everything works; neither the "
    "figures nor the order of the methods are those of whole trainings."
)
