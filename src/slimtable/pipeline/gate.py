"""The gate: compares the metrics of a model with the limits, and explains the verdict in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slimtable.pipeline.settings import GateSettings, Limits

Metrics = Mapping[str, float | None]

_CHANCE = 0.5  # AUC of random predictions


@dataclass(frozen=True)
class Verdict:
    """The decision of the gate.

    Attributes:
        decision: ``publish``, ``refuse``, or ``hold`` if the window tested on is suspect (quarantined).
        reasons: the limits that were exceeded, with the numbers; empty for ``publish``.
        roll_back: true if training continues from the state before the window.
    """

    decision: str
    reasons: tuple[str, ...] = ()
    roll_back: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The verdict as JSON values."""
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
    """Decides on a candidate by the metrics of all models on rows that none of them was trained on.

    Args:
        settings: the limits.
        candidate: metrics ``auc``, ``log_loss`` and ``calibration`` of the compressed model.
        uncompressed: metrics of the uncompressed model.
        served: metrics of the served version; None if there is none yet.
        served_before: :func:`expected_auc` of the served version, from the window before; None if unknown.
        too_large: why the candidate could not be compressed as asked; empty if it was.
        suspect: true if the window that was trained on was itself suspect when it tested the window before. If this
            test is suspect too, training rolls back.

    Returns:
        The verdict.
    """
    fallen = settings.max_window_fall
    now = None if served is None else served["auc"]
    if fallen is not None and now is not None and served_before is not None and served_before - now > fallen:
        reason = (
            f"the AUC of the served version fell to {now:.4f} on the window tested on, where {served_before:.4f} "
            f"was expected ({fallen:g} is allowed): that window is suspect, so there is no verdict"
        )
        return Verdict("hold", (reason,), roll_back=suspect and settings.on_refusal == "roll_back")
    if uncompressed["auc"] is None and candidate["auc"] is None and _look_at_auc(settings):
        return Verdict(
            "hold", ("all labels of the window tested on are equal, so AUC is undefined and there is no verdict",)
        )
    compression = [too_large] if too_large else []
    compression += _compare(settings, candidate, uncompressed, "the uncompressed model")
    itself = _alone(settings, candidate)
    service: list[str] = []
    learned_worse = False
    if served is None:  # the first model: an AUC below chance means wrong labels
        learned_worse = uncompressed["auc"] is not None and uncompressed["auc"] < _CHANCE and bool(itself)
    else:
        service = _compare(settings.served, candidate, served, "the served version")
        learned_worse = bool(_compare(settings.served, uncompressed, served, "")) or bool(service and not compression)
    reasons = (*compression, *service, *itself)
    if not reasons:
        return Verdict("publish")
    return Verdict("refuse", reasons, roll_back=learned_worse and settings.on_refusal == "roll_back")


def expected_auc(decision: str, reached: float, expected: float | None) -> float:
    """Expected AUC of the served version on the next window; a fall is measured against it.

    After a suspect window the expectation drops only halfway to the AUC reached: a full drop would let several
    poisoned windows in a row confirm each other, while no drop would never accept a lasting change of the data.

    Args:
        decision: decision of the gate on the last window.
        reached: AUC on that window of the version that is served now.
        expected: AUC that was expected of it; None if nothing was.
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
