"""Hands out key pairs that end, and makes the local RDS trust each until then."""

from __future__ import annotations

import base64
import math
import secrets
import threading
import time
from collections import deque

from .._token import Credentials
from ._aws import draw_key_pair
from ._local_rds import LocalRds

_KEPT = 10_000


class Issuer:
    """Where all keys of one local AWS come from, by its clock. Safe to use from any thread.

    Attributes:
        lifetime: Seconds that a role session lives, cut to a whole second of its end.
        rotation: Whether each call gets a new role session; otherwise all get the same
            one until half of its life is over.
    """

    def __init__(self, rds: LocalRds | None, *, lifetime: float) -> None:
        self.lifetime = lifetime
        self.rotation = True
        self._rds = rds
        self._issued: deque[Credentials] = deque(maxlen=_KEPT)
        self._current: Credentials | None = None
        self._renewed_from = 0.0
        self._lock = threading.Lock()

    @property
    def issued(self) -> tuple[Credentials, ...]:
        """All pairs so far, oldest first."""
        with self._lock:
            return tuple(self._issued)

    def current(self, *, at_most: float = math.inf) -> Credentials:
        """Return the keys of a role session; whether of a new one, `rotation` says.

        Args:
            at_most: The longest that new ones may live, in seconds.
        """
        with self._lock:
            now = self.now()
            if self._current is None or self.rotation or now >= self._renewed_from:
                life = min(self.lifetime, at_most)
                self._renewed_from = now + life / 2
                self._current = self._hand_out(_draw_session(end=math.floor(now + life)))
            return self._current

    def find(self, access_key_id: str) -> Credentials | None:
        """Return the pair of this id, whether or not it has ended; `None` for a stranger's."""
        known = list(self.issued)
        if self._rds is not None:
            known.append(self._rds.credentials)
        return next((keys for keys in known if keys.access_key_id == access_key_id), None)

    def now(self) -> float:
        """Return what time it is on AWS's clock, in Unix seconds."""
        return time.time() if self._rds is None else self._rds.wall()

    def new_session(self) -> Credentials:
        """Return the keys of a role session of its own."""
        with self._lock:
            return self._hand_out(_draw_session(end=math.floor(self.now() + self.lifetime)))

    def long_term(self) -> Credentials:
        """Return a user's keys, which have no end."""
        with self._lock:
            return self._hand_out(draw_key_pair())

    def revoke(self) -> None:
        """End all role sessions now, whatever end they were issued with."""
        with self._lock:
            self._current = None
            for keys in self._issued:
                if self._rds is not None and keys.session_token is not None:
                    self._rds.distrust(keys.access_key_id)

    def _hand_out(self, keys: Credentials) -> Credentials:
        # Trusted before anybody can sign with it.
        if self._rds is not None:
            self._rds.trust(keys)
        self._issued.append(keys)
        return keys


def _draw_session(*, end: float) -> Credentials:
    drawn = draw_key_pair()
    # As long as AWS's, and with the characters that go wrong when quoted badly.
    token = base64.b64encode(b"\xff" + secrets.token_bytes(600)).decode()
    return Credentials(
        access_key_id=drawn.access_key_id.replace("AKIA", "ASIA", 1),
        secret_access_key=drawn.secret_access_key,
        session_token=f"IQoJb3JpZ2luX2Vj{token}+/==",
        expires_at=float(end),
    )
