"""Which of two snapshots of the same source signs, and until when, whatever the source says."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

from ._token import Credentials

_REMEMBERED = 16
"""Keys whose earliest end is kept: those in hand and a few before them."""


class EarliestEnds:
    """What was said of each key's end, of which the earliest is true.

    The end of a temporary key never moves, but botocore moves the one that it reports
    for EC2: 300 s of true life became 1286 s ("static stability",
    `_evaluate_expiration` in `botocore/utils.py`).
    """

    def __init__(self) -> None:
        self._ends: OrderedDict[str, float] = OrderedDict()

    def corrected(self, fresh: Credentials) -> Credentials:
        """Return *fresh* with the earliest end ever said of its key, and remember that."""
        if fresh.session_token is None:
            # A long-term key has no end: what a source says of one is when to ask again.
            return fresh
        said = self._ends.pop(fresh.access_key_id, fresh.expires_at)
        if said is None:
            return fresh
        end = said if fresh.expires_at is None else min(said, fresh.expires_at)
        self._ends[fresh.access_key_id] = end
        if len(self._ends) > _REMEMBERED:
            self._ends.popitem(last=False)
        return replace(fresh, expires_at=end)


def better(held: Credentials | None, fresh: Credentials, *, suspect: str | None) -> Credentials:
    """Return the one of two snapshots of the same source that is to sign.

    Args:
        held: The keys in hand, if any.
        fresh: What the source says now.
        suspect: The key that was in hand when a server refused a token.

    Returns:
        The longer-lived one: a provider may serve keys that are about to end. But
        *fresh* where an end is not known (a rotated file must win), and where the keys
        in hand are suspect (their role session may have been revoked).
    """
    if held is None or held.access_key_id in (suspect, fresh.access_key_id):
        return fresh
    if held.expires_at is None or fresh.expires_at is None:
        return fresh
    return held if held.expires_at > fresh.expires_at else fresh
