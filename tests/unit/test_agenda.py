"""The agenda against the obvious model: a dictionary that is sorted each time."""

from __future__ import annotations

import math

from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from hypothesis.strategies import integers, just

from rds_iam_async._agenda import GRAIN, Agenda

items = integers(0, 5)
instants = integers(0, 200).map(lambda number: number / 50)  # few of them multiples of GRAIN


def rounded(at: float) -> float:
    """Return the first instant at which an item is due: never early, and hardly late."""
    due = at if math.isinf(at) else math.ceil(at / GRAIN) * GRAIN
    assert at <= due < at + GRAIN or at == due
    return due


class AgendaMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.agenda: Agenda[int] = Agenda()
        self.model: dict[int, float] = {}

    @rule(item=items, at=instants | just(-math.inf) | just(math.inf))
    def put(self, item: int, at: float) -> None:
        self.agenda.put(item, at)
        self.model[item] = rounded(at)

    @rule(item=items)
    def remove(self, item: int) -> None:
        self.agenda.remove(item)
        self.model.pop(item, None)

    @rule(now=instants, most=integers(1, 4))
    def pop_due(self, now: float, most: int) -> None:
        due = self.agenda.pop_due(now, most=most)
        assert len(due) <= most
        if not due:
            assert all(at > now for at in self.model.values())
        for item in due:
            earliest = min(self.model.values())
            assert self.model.pop(item) == earliest <= now

    @invariant()
    def it_knows_the_next(self) -> None:
        assert self.agenda.next_at() == min(self.model.values(), default=math.inf)


TestAgenda = AgendaMachine.TestCase
