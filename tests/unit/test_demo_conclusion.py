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
        "10.0 ms there, a difference within the noise."
    )


def compared(ours: list[int], usual: list[int], *, median: float) -> str:
    """Return the end of the conclusion, for round medians in ms and ours over all."""
    return concluded(
        replace(OURS, latencies=(median,), round_medians=tuple(ours)),
        replace(USUAL, round_medians=tuple(usual)),
    ).rpartition(" there, ")[2]


def test_ours_is_called_faster_or_slower_when_the_rounds_agree() -> None:
    """The verdict follows the measured medians, in either direction."""
    assert compared([8, 8, 9, 7, 8, 8], [10] * 6, median=0.008) == "20% less."
    assert compared([12, 11, 14, 12, 12, 11], [10] * 6, median=0.012) == "20% more."
    assert compared([8] * 11 + [12] * 2, [10] * 13, median=0.008) == "20% less."


@pytest.mark.parametrize(
    ("ours", "usual"),
    [
        ([8] * 6 + [12], [10] * 7),  # one of few rounds says otherwise: 12.5 % by chance
        ([8] * 5, [10] * 5),  # too few rounds: 6.25 %
        ([8] * 5 + [10], [10] * 6),  # and one that says nothing is none
        ([12] * 7, [10] * 7),  # all say the opposite of the whole
        ([], []),
    ],
)
def test_what_could_be_noise_is_called_noise(ours: list[int], usual: list[int]) -> None:
    """However far apart the medians of the whole run are."""
    assert compared(ours, usual, median=0.008) == "a difference within the noise."


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
