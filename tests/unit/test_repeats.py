"""Repeats are left out ever longer, never lost count of, and new trouble is told at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import booleans, floats, lists, tuples

from rds_iam_async.telemetry._repeats import Ended, Repeats


def told(repeats: Repeats, who: str, times: list[float]) -> list[tuple[float, int]]:
    found = []
    for now in times:
        if (left_out := repeats.again(who, now)) is not None:
            found.append((now, left_out))
    return found


def test_the_first_is_told_at_once_and_the_others_ever_further_apart() -> None:
    """30 s, doubling to 15 min: eight lines in an hour, however many repeats there are."""
    every_tenth = [n / 10 for n in range(36_000)]
    assert told(Repeats(), "db", every_tenth) == [
        (0, 0),
        (30, 299),
        (90, 599),
        (210, 1199),
        (450, 2399),
        (930, 4799),
        (1830, 8999),
        (2730, 8999),
    ]


def test_the_end_says_how_often_how_long_and_how_many_were_not_told() -> None:
    """Once."""
    repeats = Repeats()
    told(repeats, "db", [100, 101, 102, 131])
    assert repeats.end("db", 140) == Ended(count=4, hidden=2, lasted=40)
    assert repeats.end("db", 141) is None


def test_the_end_of_what_never_was_is_not_told() -> None:
    """A mint is no recovery where nothing had failed."""
    assert Repeats().end("db", 0) is None


def test_trouble_that_comes_back_after_two_minutes_is_told_at_once() -> None:
    """However long the one before had lasted."""
    repeats = Repeats()
    told(repeats, "db", [float(n) for n in range(2800)])  # the next line would be due at 3630
    repeats.end("db", 2800)
    assert told(repeats, "db", [2920, 2921]) == [(2920, 69)]
    assert repeats.end("db", 2925) == Ended(count=2, hidden=1, lasted=5)


def test_trouble_that_comes_and_goes_is_not_told_each_time() -> None:
    """Every 10 s for an hour: each line has at most one end beside it, and nothing is lost."""
    repeats, lines, ends, left_out = Repeats(), 0, 0, 0
    for now in range(0, 3600, 10):
        said = repeats.again("db", now)
        if said is not None:
            lines, left_out = lines + 1, left_out + said
        ends += repeats.end("db", now + 5) is not None
    assert ends <= lines < 10
    assert 360 - 90 < lines + left_out <= 360  # the rest is told with the next line


def test_trouble_that_comes_back_every_three_minutes_is_told_ever_less() -> None:
    """Each time it must stay away for longer to be news; after a quiet quarter it is again."""
    repeats, at_once = Repeats(), []
    for number in range(20):
        at_once += [number for _ in told(repeats, "db", [number * 180])]
        repeats.end("db", number * 180 + 10)
    assert at_once == [0, 1, 2, 3, 4, 6, 9, 14, 19]
    for news in (3430 + 900, 3430 + 900 + 10 + 120):
        assert [now for now, _ in told(repeats, "db", [news, news + 1])] == [news]
        repeats.end("db", news + 10)


def test_another_in_trouble_is_told_at_once() -> None:
    """One database that refuses everything does not hide the next."""
    repeats = Repeats()
    told(repeats, "one", [float(n) for n in range(1000)])
    assert repeats.again("two", 1000) == 0


def test_of_a_thousand_in_trouble_three_are_told_apart_and_the_rest_together() -> None:
    """An outage of all is no thousand outages, neither in lines nor at its end."""
    repeats = Repeats()
    lines = sum(
        repeats.again(who, now) is not None for now in range(0, 3600, 15) for who in range(1000)
    )
    assert lines == 4 * 8
    ends = [end for who in range(1000) if (end := repeats.end(who, 3600)) is not None]
    assert len(ends) == 4
    assert sum(end.count for end in ends) == 1000 * 240
    assert sum(end.hidden for end in ends) == 1000 * 240 - lines


def test_who_went_away_in_trouble_makes_room() -> None:
    """A tenant that was detached during an outage takes no place for ever."""
    repeats = Repeats()
    for who in "abcdef":
        repeats.again(who, 0)
    assert repeats.again("g", 1000) == 0
    assert repeats.end("g", 1001) == Ended(count=1, hidden=0, lasted=1)
    for who in "hijk":
        repeats.again(who, 1002)
    told_apart = [repeats.end(who, 1003) for who in "hi"]
    assert told_apart == [Ended(count=1, hidden=0, lasted=1)] * 2
    assert repeats.end("j", 1003) is None
    assert repeats.end("k", 1003) == Ended(count=2, hidden=1, lasted=1)


@given(lists(tuples(floats(0, 100), booleans()), max_size=200))
def test_nothing_is_told_without_having_happened(steps: list[tuple[float, bool]]) -> None:
    """Told and left out together are what happened; an end follows something told."""
    repeats, now, happened, lines, left_out, open_line = Repeats(), 0.0, 0, 0, 0, False
    for pause, fails in steps:
        now += pause
        if fails:
            happened += 1
            said = repeats.again("db", now)
            if said is not None:
                lines, left_out, open_line = lines + 1, left_out + said, True
        elif repeats.end("db", now) is not None:
            assert open_line
            open_line = False
    assert lines + left_out <= happened
    assert (lines > 0) == (happened > 0)
