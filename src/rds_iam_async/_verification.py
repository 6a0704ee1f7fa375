"""How one engine's connections verify their server: the driver's TLS arguments, once known."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from typing import Any

from ._drivers import Driver, Said
from ._errors import ConfigurationError
from ._tls import Trust, named_context


class Verification:
    """TLS in the words of one driver.

    Attributes:
        arguments: What each connection gets; `None` until the trust is built.
        roots: Whom it trusts, in words.
        beside_address: The name to verify, where the driver is told it beside the address.
    """

    __slots__ = (
        "_driver",
        "_keep",
        "_server_name",
        "_trust",
        "arguments",
        "beside_address",
        "roots",
    )

    def __init__(
        self, driver: Driver, trust: Trust[Any], said: Said, *, server_name: str | None = None
    ) -> None:
        """Take what was decided when the engine was attached.

        Args:
            driver: Whose words.
            trust: What verifies the server.
            said: What the engine itself says about TLS.
            server_name: The name to verify where another is dialled.
        """
        self._driver = driver
        self._trust = trust
        self._keep = said.keep
        self.roots = trust.roots
        self._server_name = server_name
        self.beside_address = None if driver.takes_context else server_name
        self.arguments: dict[str, Any] | None = None

    async def ready(self) -> dict[str, Any]:
        """Return the arguments, building the trust in a thread if it is not there yet.

        Raises:
            ConfigurationError: When the CA file turns out not to parse.
        """
        if self.arguments is None:
            self._know(await self._trust.ready())
        return self._known()

    def build(self) -> dict[str, Any]:
        """Return the arguments, building the trust here and now if it is not there yet."""
        if self.arguments is None:
            self._know(self._trust.build())
        return self._known()

    def imposed_on(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return *kwargs* with these arguments, once they are known, and no others about TLS.

        A context that somebody else put there stays if it verifies the server: there may be
        client certificates in it.

        Raises:
            ConfigurationError: For arguments that would weaken it.
        """
        ours = self._known()
        about_tls = self._driver.tls_names
        said_here = about_tls.intersection(kwargs)
        if all(name in ours and kwargs[name] is ours[name] for name in said_here):
            return {**kwargs, **ours}  # as nearly always: it is what the listener put there
        foreign = {n: kwargs[n] for n in said_here if kwargs[n] is not ours.get(n)}
        said = self._driver.understand(foreign) if foreign else Said()
        if said.ca_file is not None:
            raise ConfigurationError(
                f"the connection has a CA file of its own, {said.ca_file!r}",
                hint="name it in the URL, or as ca_file=",
            )
        if said.context is not None:
            ours = ours | self._driver.tls_arguments(self.named(said.context))
        return {n: v for n, v in kwargs.items() if n not in about_tls} | ours

    async def aimed(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return *kwargs* so that the right name is verified where another is dialled.

        A context knows the name itself; libpq wants the name beside the address.
        """
        if self.beside_address is None:
            return kwargs
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(kwargs["host"], kwargs["port"], type=socket.SOCK_STREAM)
        return kwargs | _addressed(self.beside_address, found)

    def aimed_now(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Do the same, blocking."""
        if self.beside_address is None:
            return kwargs
        found = socket.getaddrinfo(kwargs["host"], kwargs["port"], type=socket.SOCK_STREAM)
        return kwargs | _addressed(self.beside_address, found)

    def named(self, made: Any) -> Any:
        """Return the context so that it verifies the name that is signed, whatever is dialled."""
        if self._server_name is None or not self._driver.takes_context:
            return made
        return named_context(made, self._server_name)

    def _know(self, made: Any) -> None:
        self.arguments = self._driver.tls_arguments(self.named(made))
        self.arguments.update(self._keep)

    def _known(self) -> dict[str, Any]:
        assert self.arguments is not None
        return self.arguments


def _addressed(name: str, found: list[Any]) -> dict[str, str]:
    addresses = list(dict.fromkeys(str(item[4][0]) for item in found))
    return {"host": ",".join([name] * len(addresses)), "hostaddr": ",".join(addresses)}
