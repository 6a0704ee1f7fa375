"""One engine's link to its supply of tokens: the only listener there is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, event

from ._connect import Connector
from ._errors import ConfigurationError
from ._supply import TokenSupply
from ._tls import Trust
from ._verification import Verification


@dataclass(slots=True, eq=False)
class Attachment:
    """Undone by `detach` and `aclose`, redone by `start`."""

    engine: Engine
    connector: Connector
    supply: TokenSupply
    trust: Trust[Any]
    verification: Verification
    linked: bool = False

    def link(self) -> None:
        """Let the engine's connections read the slot."""
        if not self.linked:
            if any(map(_is_ours, self.engine.dialect.dispatch.do_connect)):
                raise ConfigurationError(
                    f"{self.engine!r} has a refresher already, or shares its dialect with an "
                    "engine that has",
                    hint="detach it there first; copies made by execution_options() need none",
                )
            event.listen(self.engine, "do_connect", self.connector.do_connect)
            self.linked = True

    def unlink(self) -> None:
        """Leave the engine as it was."""
        if self.linked:
            event.remove(self.engine, "do_connect", self.connector.do_connect)
            self.linked = False


def _is_ours(listener: Any) -> bool:
    return str(listener.__module__).startswith(f"{__package__}.")
