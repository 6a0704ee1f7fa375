from dataclasses import replace

import pytest

from rds_iam_async._demo import Figures, Report
from rds_iam_async._demo._conclusion import conclusion

OURS = Figures(
    connects=1200,
    failures=0,
    refused_attempts=0,
    plaintext_attempts=0,
    minted=8,
    signed_on_connect_path=0,
    waited=0.0,
    seconds=10.0,
    latencies=(0.010,) * 1200,
)
USUAL = replace(
    OURS, connects=500, minted=500, signed_on_connect_path=500, waited=0.1, latencies=(0.01,) * 500
)


def concluded(ours: Figures = OURS, usual: Figures = USUAL) -> str:
    return conclusion(Report(workers=4, token_lifetime=4.0, ours=ours, usual=usual))


def test_a_run_without_a_fault_is_told_in_two_sentences() -> None:
    """Each number in it is one of the report's."""
    assert concluded() == (
        "Not one of 1,200 connects failed while the token was replaced 7 times, and none "
        "waited for a signature. The usual way signed 500 times for 500 connects, holding up "
        "the event loop for 0.20 ms each; the median connect took 10.0 ms with ours and "
        "10.0 ms there: about the same."
    )


@pytest.mark.parametrize(
    ("latency", "verdict"),
    [
        (0.008, "20% less."),
        (0.0094, "6% less."),
        (0.0096, "about the same."),
        (0.0104, "about the same."),
        (0.012, "20% more."),
    ],
)
def test_ours_is_called_faster_only_when_it_was(latency: float, verdict: str) -> None:
    """The verdict follows the medians, in either direction, and small differences are none."""
    assert concluded(replace(OURS, latencies=(latency,))).endswith(f"there: {verdict}")


def test_failures_and_waits_of_ours_are_said_first() -> None:
    """The demo does not praise a run that broke the promise."""
    said = concluded(replace(OURS, failures=3, signed_on_connect_path=2, minted=2))
    assert said.startswith(
        "3 of 1,200 connects failed while the token was replaced 1 time, and 2 waited for a "
        "signature."
    )


def test_failures_of_the_usual_way_are_said_too() -> None:
    """It is measured by the same rules."""
    assert "each, and 4 failed;" in concluded(usual=replace(USUAL, failures=4))


def test_without_latencies_none_are_compared() -> None:
    """A way that never got through has no median."""
    assert concluded(replace(OURS, failures=1200, latencies=())).endswith("0.20 ms each.")
