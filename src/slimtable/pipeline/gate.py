"""Whether a model may be served: what is measured against what is allowed, in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slimtable.pipeline.settings import GateSettings, Limits

Metrics = Mapping[str, float | None]

_CHANCE = 0.5  # AUC of a model that knows nothing


@dataclass(frozen=True)
class Verdict:
    """What the gate decided.

    Attributes:
        decision: ``publish``, ``refuse``, or ``hold`` where the window could judge nobody.
        reasons: what spoke against it, with the numbers; empty for ``publish``.
        roll_back: whether training shall go on from the state before the window.
    """

    decision: str
    reasons: tuple[str, ...] = ()
    roll_back: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"decision": self.decision, "reasons": list(self.reasons), "roll_back": self.roll_back}


def judge(
    settings: GateSettings,
    candidate: Metrics,
    uncompressed: Metrics,
    served: Metrics | None = None,
    served_before: float | None = None,
    too_large: str = "",
    *,
    suspect: bool = False,
) -> Verdict:
    """Decides on a candidate, by what all models do on rows that none of them was trained on.

    Args:
        settings: what is allowed.
        candidate: ``auc``, ``log_loss`` and ``calibration`` of the compressed model.
        uncompressed: of the model that it was compressed from.
        served: of the version being served; None where there is none yet.
        served_before: what :func:`expected_auc` gave for the window before; None where nothing is known.
        too_large: why the candidate could not be compressed as asked; empty where it was.
        suspect: whether the window that was trained on could not judge the one before it. Where it cannot be judged
            either, nothing speaks for it, and it is not trained on.

    Returns:
        The verdict.
    """
    fallen = settings.max_window_fall
    now = None if served is None else served["auc"]
    if fallen is not None and now is not None and served_before is not None and served_before - now > fallen:
        reason = (
            f"the AUC of the version being served fell to {now:.4f} on the window tested on, where {served_before:.4f} "
            f"was expected ({fallen:g} is allowed): that window is suspect and judges nobody"
        )
        return Verdict("hold", (reason,), roll_back=suspect and settings.on_refusal == "roll_back")
    if uncompressed["auc"] is None and candidate["auc"] is None and _look_at_auc(settings):
        return Verdict(
            "hold", ("all labels of the window tested on are alike, so that it has no AUC and judges nobody",)
        )
    compression = [too_large] if too_large else []
    compression += _compare(settings, candidate, uncompressed, "the uncompressed model")
    itself = _alone(settings, candidate)
    service: list[str] = []
    learned_worse = False
    if served is None:  # the first model: an order that is worse than chance was learned from wrong labels
        learned_worse = uncompressed["auc"] is not None and uncompressed["auc"] < _CHANCE and bool(itself)
    else:
        service = _compare(settings.served, candidate, served, "the version being served")
        learned_worse = bool(_compare(settings.served, uncompressed, served, "")) or bool(service and not compression)
    reasons = (*compression, *service, *itself)
    if not reasons:
        return Verdict("publish")
    return Verdict("refuse", reasons, roll_back=learned_worse and settings.on_refusal == "roll_back")


def expected_auc(decision: str, reached: float, expected: float | None) -> float:
    """Expected AUC of the served version on the next window, which a fall is measured from.

    One suspect window is no reason to expect as little of the next: several wrong ones in a row would only have to
    agree with each other. Nor may it be ignored, since the world does change: expectations come down by halves, and
    after a few windows a lasting change is no longer a fall.

    Args:
        decision: of the gate on the last window.
        reached: AUC there, of the version that is served now.
        expected: what had been expected of it; None where nothing was.
    """
    return (reached + expected) / 2 if decision == "hold" and expected is not None else reached


def _compare(limits: Limits, model: Metrics, other: Metrics, name: str) -> list[str]:
    reasons = []
    for metric, words, sign, limit in (
        ("auc", "AUC", 1.0, limits.max_auc_drop),
        ("log_loss", "log loss", -1.0, limits.max_log_loss_rise),
    ):
        mine, theirs = model[metric], other[metric]
        if limit is None or theirs is None:
            continue
        if mine is None or not math.isfinite(mine):
            reasons.append(f"{words} cannot be measured")
        elif sign * (theirs - mine) > limit:
            difference = mine - theirs
            reasons.append(
                f"{words} {mine:.4f} is {abs(difference):.4f} {'below' if difference < 0 else 'above'} that of {name} "
                f"({theirs:.4f}); {limit:g} is allowed"
            )
    return reasons


def _look_at_auc(settings: GateSettings) -> bool:
    limits = (settings.max_auc_drop, settings.served.max_auc_drop, settings.min_auc, settings.max_window_fall)
    return any(limit is not None for limit in limits)


def _alone(settings: GateSettings, model: Metrics) -> list[str]:
    reasons = []
    auc, ratio = model["auc"], model["calibration"]
    if settings.min_auc is not None and auc is not None and auc < settings.min_auc:
        reasons.append(f"AUC {auc:.4f} is below {settings.min_auc:g}")
    if settings.calibration is not None and ratio is not None:
        low, high = settings.calibration
        if not low <= ratio <= high:
            reasons.append(f"predicted to actual clicks are {ratio:.3f} to 1; {low:g} to {high:g} is allowed")
    return reasons
