"""One engine's link to its supply of tokens: the only listener there is."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine, event

from ._connect import Connector
from ._supply import TokenSupply
from ._tls import Trust


@dataclass(slots=True)
class Attachment:
    """Undone by `detach` and `aclose`, redone by `start`."""

    engine: Engine
    connector: Connector
    supply: TokenSupply
    trust: Trust
    linked: bool = False

    def link(self) -> None:
        """Let the engine's connections read the slot."""
        if not self.linked:
            event.listen(self.engine, "do_connect", self.connector.do_connect)
            self.linked = True

    def unlink(self) -> None:
        """Leave the engine as it was."""
        if self.linked:
            event.remove(self.engine, "do_connect", self.connector.do_connect)
            self.linked = False
