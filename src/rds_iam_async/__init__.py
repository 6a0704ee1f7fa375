"""IAM authentication for async SQLAlchemy at the price of a static password."""

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
