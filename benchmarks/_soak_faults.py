"""What goes wrong in the soak, and in which order: a table, and a draw that a seed repeats."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from rds_iam_async import RefreshPolicy

TOKEN_LIFETIME = 3.0
CREDENTIALS_LIFETIME = 10.0
POLICY = RefreshPolicy(lifetime=TOKEN_LIFETIME, retry_cap=1.0, wait=2.5)
"""Time is compressed: what AWS gives 15 minutes and more lives seconds here. A look at
credentials that hangs costs all of `wait`, so that is well below half a life of the keys; a
share of it is what a look may take after a refusal, also on a busy machine."""

SERVER_ECHO = POLICY.retry_cap
CREDENTIALS_ECHO = POLICY.wait + POLICY.retry_cap
"""One retry interval. A look that began before the endpoint was well again may hang, or sit
in a pause of the SDK's own, for `wait`; the next one follows within `retry_cap`."""

_FAILURES = ("500", "403", "refused", "hang", "garbage", "truncated")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One way to go wrong, and what the promise says of connects meanwhile.

    Attributes:
        name: As it stands in the table.
        lever: What is pulled: an attribute or a method of the local AWS or RDS, or `app.stall`.
        values: What it is given, drawn evenly.
        back: What is pulled when the fault ends; "" when it ends by itself.
        rest: What that is given.
        lasts: The shortest and the longest time in seconds.
        often: How often it comes in one round of all kinds.
        echo: How long after its end it may still be felt, in seconds.
        before_look: It begins up to a second before a look at the credentials is due;
            drawn evenly over time it would mostly fall between two.
        may_fail: Connects may fail; otherwise the fault is shorter than what is left of
            the token and the keys in hand, or is cured by minting anew.
        may_wait: Connects may find no token and wait for one.
        may_be_refused: The server may refuse a token.
    """

    name: str
    lever: str
    values: tuple[str | float | None, ...] = (None,)
    back: str = ""
    rest: float | None = None
    lasts: tuple[float, float] = (0.5, 1.0)
    often: int = 1
    echo: float = SERVER_ECHO
    before_look: bool = False
    may_fail: bool = False
    may_wait: bool = False
    may_be_refused: bool = False


KINDS = (
    Kind(
        name="credential endpoint fails, briefly",
        lever="aws.failure",
        values=_FAILURES,
        back="aws.failure",
        lasts=(0.5, 1.5),
        often=2,
        echo=CREDENTIALS_ECHO,
        before_look=True,
    ),
    Kind(
        name="credential endpoint fails, past the end of the keys",
        lever="aws.failure",
        values=_FAILURES,
        back="aws.failure",
        lasts=(6.0, 9.0),
        echo=CREDENTIALS_ECHO,
        before_look=True,
        may_fail=True,
        may_wait=True,
        may_be_refused=True,
    ),
    Kind(
        name="credential endpoint is slow",
        lever="aws.delay",
        values=(0.2, 0.5, 0.8),
        back="aws.delay",
        rest=0,
        lasts=(0.5, 1.5),
        echo=CREDENTIALS_ECHO,
        before_look=True,
    ),
    Kind(
        name="role sessions are revoked",
        lever="aws.revoke",
        may_wait=True,
        may_be_refused=True,
    ),
    Kind(
        name="tokens are revoked",
        lever="rds.revoke",
        may_wait=True,
        may_be_refused=True,
    ),
    Kind(
        name="one token is refused",
        lever="rds.refuse",
        values=(1,),
        back="rds.refuse",
        rest=0,
        may_wait=True,
        may_be_refused=True,
    ),
    Kind(
        name="several tokens in a row are refused",
        lever="rds.refuse",
        values=(3, 4, 5, 6),
        back="rds.refuse",
        rest=0,
        may_fail=True,
        may_wait=True,
        may_be_refused=True,
    ),
    Kind(
        name="logins are reset",
        lever="rds.reset",
        values=(1, 2, 3, 4, 5),
        back="rds.reset",
        rest=0,
        may_fail=True,
    ),
    Kind(
        name="logins are slow",
        lever="rds.auth_delay",
        back="rds.auth_delay",
        values=(0.2, 0.4, 0.6),
        rest=0,
        lasts=(1.0, 2.0),
    ),
    Kind(name="server restarts", lever="rds.restart", may_fail=True),
    Kind(
        name="server cannot be reached",
        lever="rds.pause",
        back="rds.resume",
        lasts=(0.3, 1.5),
        may_fail=True,
    ),
    Kind(
        name="event loop stalls",
        lever="app.stall",
        values=(0.5, 1.0, 1.5, 2.5),
        may_wait=True,
        may_be_refused=True,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault of a plan.

    Attributes:
        kind: What.
        value: What its lever is given.
        after: Seconds of quiet before it.
        ahead: Seconds before the next look at which it begins, if its kind cares.
        lasts: How long it lasts, in seconds.
    """

    kind: Kind
    value: str | float | None
    after: float
    ahead: float
    lasts: float


def plan(seed: int) -> Iterator[Fault]:
    """Yield faults without end: rounds of all kinds, each in an order of its own."""
    draw = random.Random(seed)
    while True:
        one_round = [kind for kind in KINDS for _ in range(kind.often)]
        draw.shuffle(one_round)
        for kind in one_round:
            lasts = draw.uniform(*kind.lasts)
            yield Fault(
                kind=kind,
                value=draw.choice(kind.values),
                after=round(draw.uniform(0.3, 1.2), 2),
                ahead=round(draw.uniform(0.1, 0.9) * min(1.0, lasts), 2),
                lasts=round(lasts, 2),
            )
