"""What the gate lets through, and what it says about the rest."""

from __future__ import annotations

import pytest

from slimtable.pipeline.gate import expected_auc, judge
from slimtable.pipeline.settings import GateSettings, Limits

SETTINGS = GateSettings(
    max_auc_drop=0.01, max_log_loss_rise=0.02, served=Limits(max_auc_drop=0.03, max_log_loss_rise=0.04)
)


def metrics(
    auc: float | None = 0.75, log_loss: float = 0.5, calibration: float | None = 1.0
) -> dict[str, float | None]:
    return {"auc": auc, "log_loss": log_loss, "calibration": calibration}


def test_as_good_is_good_enough() -> None:
    verdict = judge(SETTINGS, metrics(), metrics(), metrics(), 0.75)
    assert verdict.decision == "publish"
    assert verdict.reasons == ()
    assert judge(SETTINGS, metrics(0.741, 0.519), metrics()).decision == "publish"


@pytest.mark.parametrize(
    ("candidate", "words"),
    [
        (metrics(auc=0.735), "AUC 0.7350 is 0.0150 below that of the uncompressed model (0.7500); 0.01 is allowed"),
        (metrics(log_loss=0.53), "log loss 0.5300 is 0.0300 above that of the uncompressed model (0.5000)"),
        (metrics(calibration=1.4), "predicted to actual clicks are 1.400 to 1; 0.8 to 1.25 is allowed"),
        (metrics(auc=None), "AUC cannot be measured"),
    ],
)
def test_what_compression_harms_is_refused_but_trained_on(candidate: dict[str, float | None], words: str) -> None:
    verdict = judge(SETTINGS, candidate, metrics(), metrics())
    assert verdict.decision == "refuse"
    assert words in verdict.reasons[0]
    assert not verdict.roll_back


def test_what_a_window_spoiled_is_refused_and_forgotten() -> None:
    spoiled = metrics(auc=0.70)
    verdict = judge(SETTINGS, spoiled, spoiled, metrics(), 0.75)
    assert verdict.decision == "refuse"
    assert verdict.reasons == ("AUC 0.7000 is 0.0500 below that of the served version (0.7500); 0.03 is allowed",)
    assert verdict.roll_back
    kept = judge(SETTINGS.model_copy(update={"on_refusal": "keep"}), spoiled, spoiled, metrics(), 0.75)
    assert kept.decision == "refuse"
    assert not kept.roll_back


def test_compression_is_not_the_fault_of_the_window() -> None:
    """The uncompressed model is as good as the served one, so what the window taught it is kept."""
    verdict = judge(SETTINGS, metrics(auc=0.70), metrics(), metrics())
    assert len(verdict.reasons) == 2
    assert not verdict.roll_back


def test_a_window_on_which_the_served_version_fails_judges_nobody() -> None:
    flipped = metrics(auc=0.25, log_loss=1.2, calibration=0.4)
    verdict = judge(SETTINGS, flipped, flipped, flipped, served_before=0.75)
    assert verdict.decision == "hold"
    assert "fell to 0.2500 on the window tested on, where 0.7500 was expected (0.1 is allowed)" in verdict.reasons[0]
    assert not verdict.roll_back
    drifted = metrics(auc=0.62)
    assert judge(SETTINGS, drifted, drifted, drifted, served_before=0.64).decision == "publish"


def test_a_suspect_window_that_nobody_can_judge_is_not_trained_on() -> None:
    flipped = metrics(auc=0.25)
    verdict = judge(SETTINGS, metrics(), metrics(), flipped, served_before=0.5, suspect=True)
    assert (verdict.decision, verdict.roll_back) == ("hold", True)
    assert judge(SETTINGS, metrics(), metrics(), metrics(), served_before=0.75, suspect=True).decision == "publish"


def test_expectations_come_down_slowly_while_windows_are_suspect() -> None:
    assert (
        expected_auc("publish", 0.6, 0.8) == expected_auc("refuse", 0.6, 0.8) == expected_auc("hold", 0.6, None) == 0.6
    )
    expected, held = 0.75, 0
    while expected - 0.25 > 0.1:  # labels that stay flipped, at the default limit
        expected, held = expected_auc("hold", 0.25, expected), held + 1
    assert held == 3


def test_a_window_of_one_class_judges_nobody() -> None:
    alike = metrics(auc=None, log_loss=2.0, calibration=None)
    verdict = judge(SETTINGS, alike, alike, alike, served_before=0.75)
    assert verdict.decision == "hold"
    assert "all labels of the window tested on are equal" in verdict.reasons[0]
    assert not verdict.roll_back


def test_what_is_too_large_is_refused_but_trained_on() -> None:
    verdict = judge(SETTINGS, metrics(), metrics(), metrics(), too_large="5 bytes do not pay for it")
    assert (verdict.decision, verdict.reasons) == ("refuse", ("5 bytes do not pay for it",))
    assert not verdict.roll_back


def test_worse_than_chance_is_never_served() -> None:
    bad = metrics(auc=0.45)
    assert "below 0.5" in judge(SETTINGS, bad, bad).reasons[0]
    assert judge(SETTINGS.model_copy(update={"min_auc": None}), bad, bad).decision == "publish"


def test_a_first_window_that_teaches_less_than_chance_is_forgotten() -> None:
    bad = metrics(auc=0.45)
    assert judge(SETTINGS, bad, bad).roll_back
    assert not judge(SETTINGS, bad, metrics()).roll_back  # what compression did
    assert not judge(SETTINGS, metrics(calibration=2.0), metrics(calibration=2.0)).roll_back


def test_limits_that_are_not_set_do_not_limit() -> None:
    anything = GateSettings(
        max_auc_drop=None,
        max_log_loss_rise=None,
        served=Limits(max_auc_drop=None, max_log_loss_rise=None),
        calibration=None,
        min_auc=None,
        max_window_fall=None,
    )
    assert judge(anything, metrics(0.1, 9.0, 5.0), metrics(), metrics(), 0.9).decision == "publish"
