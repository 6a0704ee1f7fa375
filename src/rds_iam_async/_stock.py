"""What the engines of one refresher share: keys by source, trust by CA file, tokens by endpoint."""

from __future__ import annotations

import itertools
import os
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any

from ._clock import Clock
from ._credential_cache import CredentialCache
from ._credentials import CredentialSource, SessionCredentials
from ._errors import ConfigurationError
from ._portions import Portions
from ._root_file import make_root_file
from ._schedule import RefreshPolicy
from ._supply import TokenSupply
from ._tls import Trust, checked, make_context, roots_in_words, trusts_file_alone
from ._token import Endpoint
from .telemetry import Observer

_LOOKED_AT = 512
"""Endpoints between two turns of the loop of which is asked whether something is under way."""


class Stock:
    """Hands out one object for the same question, and makes it when it is first asked."""

    def __init__(
        self,
        *,
        policy: RefreshPolicy,
        clock: Clock,
        observe: Observer,
        on_cold: Callable[[], None],
    ) -> None:
        self._policy = policy
        self._clock = clock
        self._observe = observe
        self._on_cold = on_cold
        self._keys: dict[int, tuple[object, CredentialCache]] = {}
        self._numbers = itertools.count()
        self._trusts: dict[object, Trust[Any]] = {}
        self._supplies: dict[tuple[Endpoint, CredentialCache], TokenSupply] = {}

    def keys(self, session: Any, credentials: CredentialSource | None) -> CredentialCache:
        """Return the keys in hand of a session, or of a source.

        Raises:
            ConfigurationError: When both are given, or one is not what it should be.
        """
        if session is not None and credentials is not None:
            raise ConfigurationError(
                "both session and credentials are given", hint="give one of them"
            )
        given: object = session if credentials is None else credentials
        if id(given) not in self._keys:
            source = SessionCredentials(session) if credentials is None else credentials
            if isinstance(source, type) or not callable(getattr(source, "snapshot", None)):
                raise ConfigurationError(
                    f"credentials is a {type(source).__name__}",
                    hint="pass an object with 'async def snapshot(self) -> Credentials'",
                )
            cache = CredentialCache(
                source,
                policy=self._policy,
                clock=self._clock,
                observe=self._observe,
                number=next(self._numbers),
            )
            self._keys[id(given)] = (given, cache)  # holding it keeps its id its own
        return self._keys[id(given)][1]

    def trust(
        self,
        ca_file: str | os.PathLike[str] | None,
        tls: ssl.SSLContext | None,
        *,
        host: str,
        as_file: bool = False,
        alpn: str | None = None,
    ) -> Trust[Any]:
        """Return the one thing that verifies servers in this way.

        Args:
            ca_file: Roots to trust.
            tls: The caller's own context instead.
            host: The name that is verified; it says whether the system's are trusted, too.
            as_file: Whether it is to be the path of a file, and not a context.
            alpn: As for `make_context`.

        Raises:
            ConfigurationError: When the file cannot be read, when both are given, or a
                context where only a file can be used.
        """
        path = checked(None if ca_file is None else os.fspath(ca_file), tls)
        if as_file and tls is not None:
            raise ConfigurationError(
                "libpq takes no SSLContext", hint="leave tls= out, and pass ca_file="
            )
        if tls is not None:
            return self._trusts.setdefault(id(tls), Trust(lambda: tls, made=tls))
        alone = trusts_file_alone(path, host)
        key = (path, alone, as_file, alpn)
        if key not in self._trusts:
            make: Callable[[], Any] = (
                partial(make_root_file, path, alone=alone)
                if as_file
                else partial(make_context, path, alone=alone, alpn=alpn)
            )
            self._trusts[key] = Trust(make, roots=roots_in_words(path, alone=alone))
        return self._trusts[key]

    def supply(self, endpoint: Endpoint, keys: CredentialCache) -> TokenSupply:
        """Return the tokens of one endpoint, signed by these keys."""
        supply = self._supplies.get((endpoint, keys))
        if supply is None:
            supply = self._supplies[endpoint, keys] = TokenSupply(
                endpoint,
                keys,
                policy=self._policy,
                clock=self._clock,
                observe=self._observe,
                on_cold=self._on_cold,
            )
        return supply

    async def give_up_building(self) -> None:
        """End building TLS contexts that nobody waits for any more."""
        for trust in tuple(self._trusts.values()):
            if not trust.wanted:
                await trust.aclose()

    async def aclose(self, *, unless: Callable[[], bool]) -> None:
        """End what is under way in this loop for any of them.

        Args:
            unless: Whether to leave it at that: somebody needs it again.
        """
        async for supplies in Portions(self._supplies.values(), _LOOKED_AT):
            for supply in supplies:
                await supply.aclose()
        for _, keys in tuple(self._keys.values()):
            if unless():
                return
            await keys.aclose()
        await self.give_up_building()

    def drop(self, supply: TokenSupply, *, keep: CredentialCache) -> None:
        """Forget the tokens of one endpoint, and its keys if they were for it alone.

        Args:
            supply: The tokens.
            keep: Keys that are not forgotten: the refresher's own.
        """
        del self._supplies[supply.endpoint, supply.keys]
        if supply.keys is not keep and all(keys is not supply.keys for _, keys in self._supplies):
            self._keys = {n: held for n, held in self._keys.items() if held[1] is not supply.keys}
