"""IAM authentication for async SQLAlchemy at the price of a static password."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._credentials import CredentialSource
    from ._engine import TokenRefresher
    from ._errors import (
        ConfigurationError,
        CredentialsError,
        MintError,
        RdsIamError,
        TokenUnavailableError,
    )
    from ._open import open_engine
    from ._schedule import RefreshPolicy
    from ._status import EndpointStatus, Status
    from ._token import Credentials, Endpoint, Token

__all__ = [
    "ConfigurationError",
    "CredentialSource",
    "Credentials",
    "CredentialsError",
    "Endpoint",
    "EndpointStatus",
    "MintError",
    "RdsIamError",
    "RefreshPolicy",
    "Status",
    "Token",
    "TokenRefresher",
    "TokenUnavailableError",
    "open_engine",
]

_HOMES = {
    "_credentials": ["CredentialSource"],
    "_engine": ["TokenRefresher"],
    "_errors": [
        "ConfigurationError",
        "CredentialsError",
        "MintError",
        "RdsIamError",
        "TokenUnavailableError",
    ],
    "_open": ["open_engine"],
    "_schedule": ["RefreshPolicy"],
    "_status": ["EndpointStatus", "Status"],
    "_token": ["Credentials", "Endpoint", "Token"],
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

# Each name is imported when it is first asked for: pytest imports this package in every run
# of every project that shares an environment with it, for the sake of `pytest_plugin`, and
# SQLAlchemy would cost each of them a quarter of a second.
if not TYPE_CHECKING:  # to a type checker a __getattr__ would mean that any name is there

    def __getattr__(name: str) -> object:
        if name not in _HOME_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f".{_HOME_OF[name]}", __name__), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
