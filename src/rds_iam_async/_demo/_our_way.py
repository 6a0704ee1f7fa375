"""Our way: an engine by `open_engine`, with its own events as the witness."""

from __future__ import annotations

import ssl
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import NullPool

from .._open import open_engine
from .._schedule import RefreshPolicy
from .._token import Endpoint
from ..telemetry import ColdConnect, Event, TokenMinted, TokenRejected
from ._stage import TOKEN_LIFETIME, Tally


def open_our_way(
    url: str, endpoint: Endpoint, *, session: Any, tls: ssl.SSLContext, tally: Tally
) -> AbstractAsyncContextManager[AsyncEngine]:
    """Open an engine whose tokens are minted ahead of need, and whose mints are counted."""
    return open_engine(
        url,
        region=endpoint.region,
        token_host=endpoint.host,
        session=session,
        tls=tls,
        policy=RefreshPolicy(lifetime=TOKEN_LIFETIME),
        observe=partial(count, tally),
        poolclass=NullPool,
    )


def count(tally: Tally, event: Event) -> None:
    """Note in *tally* what *event* says about tokens.

    A connection gets hold of a freshly signed token in two ways only, and each has its
    event: it found none (`ColdConnect`; a mint marked cold belongs to one of these), or
    its token was refused and replaced (`TokenRejected`).
    """
    match event:
        case TokenMinted():
            tally.minted += 1
            tally.minted_at = event.minted_at
        case ColdConnect():
            tally.note_signature(waited=event.waited)
        case TokenRejected(retried=True):
            tally.note_signature(waited=None)
        case _:
            pass
