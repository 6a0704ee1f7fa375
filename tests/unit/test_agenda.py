"""The agenda against the obvious model: a dictionary that is sorted each time."""

from __future__ import annotations

import math

from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from hypothesis.strategies import integers

from rds_iam_async._agenda import Agenda

items = integers(0, 5)
instants = integers(0, 20)


class AgendaMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.agenda: Agenda[int] = Agenda()
        self.model: dict[int, int] = {}

    @rule(item=items, at=instants)
    def put(self, item: int, at: int) -> None:
        self.agenda.put(item, at)
        self.model[item] = at

    @rule(item=items)
    def remove(self, item: int) -> None:
        self.agenda.remove(item)
        self.model.pop(item, None)

    @rule(now=instants)
    def pop_due(self, now: int) -> None:
        item = self.agenda.pop_due(now)
        if item is None:
            assert all(at > now for at in self.model.values())
        else:
            earliest = min(self.model.values())
            assert self.model.pop(item) == earliest <= now

    @invariant()
    def it_knows_the_next(self) -> None:
        assert self.agenda.next_at() == min(self.model.values(), default=math.inf)


TestAgenda = AgendaMachine.TestCase
