"""Who we are: AWS credentials out of an ordinary session. The only door to the AWS SDK.

Each look at the chain uses a session made for it, in a thread with a loop of its own:
that picks up rotated files, new SSO logins and new role sessions, shares no lock with
the application's own clients, and keeps the 20 to 125 ms that the SDK blocks a loop
(parsing models, building TLS contexts, reading files) off the application's. The
interpreter lock is shared all the same, so a look holds it for as short as it can:
`_renewal` makes its session cheaply, and it gives way between its steps.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import inspect
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from ._errors import ConfigurationError, CredentialsError, RdsIamError
from ._offload import give_way, in_own_loop, in_thread
from ._quiet import quiet_sdk
from ._renewal import core_of, in_small_bites, renewed
from ._sdk_errors import translated
from ._token import Credentials


class CredentialSource(Protocol):
    """Whatever can say with which AWS keys to sign. Bring your own as `credentials=`."""

    async def snapshot(self) -> Credentials:
        """Return the current keys.

        Called off the connect path, once per lifetime of the keys (or per refresh cycle
        if they have no known end), and after the server refused a token; one call at a
        time in each loop, each bounded by `RefreshPolicy.wait`. Any exception means
        that there are none at the moment.
        """
        ...


class SessionCredentials:
    """The credential chain of an AWS session.

    A session that is given is asked itself the first time. Later looks use a new one
    with the same settings, unless its credentials are its own (set explicitly, or made
    by code of yours): then it is asked again.
    """

    def __init__(self, session: Any = None) -> None:
        """Take note of *session*; import and read nothing.

        Args:
            session: An `aioboto3`, `aiobotocore`, `boto3` or `botocore` session, a
                function that makes one (called for each look), or `None` for
                the chain of `aioboto3.Session()`.

        Raises:
            ConfigurationError: When it is none of these.
        """
        self._make = None if _is_session(session) or session is None else session
        self._session = None if self._make else session
        if self._make is not None and not callable(self._make):
            raise ConfigurationError(
                f"session is a {type(session).__name__}",
                hint="pass an aioboto3.Session, or a function that makes one",
            )
        self.is_prepared = False
        self._renewable = False
        self._asked: Any = None
        self.provider = ""

    def region(self) -> str | None:
        """Return the region that the session is set to, if any.

        Reads configuration files, and imports the SDK if no session was given.

        Raises:
            ConfigurationError: When these files name no such profile, or do not parse.
        """
        try:
            session = self._make() if self._make else self._given()
            return core_of(session).get_config_variable("region") or None
        except ImportError as error:
            failure: RdsIamError = _no_sdk(error)
        except Exception as error:  # a profile that is not there, a file that does not parse
            told = translated(error)
            failure = ConfigurationError(told.args[0], hint=told.hint)
        raise failure

    async def prepare(self) -> None:
        """Import the SDK, once: seconds on a busy or small machine, and nobody's outage.

        What goes wrong is told by `snapshot`.
        """
        if not self.is_prepared:
            with contextlib.suppress(Exception):
                await in_thread(self._make_ready, name="rds_iam_async-import")
            self.is_prepared = True

    def _make_ready(self) -> None:
        with quiet_sdk():
            if self._make is None:
                self._given()
            else:
                importlib.import_module(_needed_by(self._make))

    async def snapshot(self) -> Credentials:
        """Look at the chain.

        Raises:
            CredentialsError: When it holds none, or fails.
        """
        return await in_own_loop(self._look, name="rds_iam_async-credentials")

    async def _look(self) -> Credentials:
        try:
            with quiet_sdk() as quiet_what_was_imported:
                session = self._next_session()
                quiet_what_was_imported()
                give_way()
                found = await _resolve(session, new=session is not self._asked)
                self._asked = session
        except ImportError as error:
            failure: RdsIamError = _no_sdk(error)
        except RdsIamError as error:
            failure = error
        except Exception as error:
            failure = translated(error)
        else:
            if found is None:
                raise CredentialsError(
                    "no credentials found in the AWS chain", reason="no_credentials"
                )
            credentials, self.provider = found
            self._renewable = self.provider in _CHAIN
            return credentials
        # Out here, where the SDK's error is neither cause nor context of ours.
        raise failure

    def _next_session(self) -> Any:
        if self._make is not None:
            return self._make()
        if self._renewable:
            return renewed(core_of(self._given()))
        return self._given()

    def _given(self) -> Any:
        if self._session is None:
            self._session = _default_session()
        return self._session


_SDK = frozenset({"aioboto3", "aiobotocore", "boto3", "botocore"})

_CHAIN = frozenset(
    {
        "env",
        "assume-role",
        "assume-role-with-web-identity",
        "sso",
        "login",
        "shared-credentials-file",
        "custom-process",
        "config-file",
        "ec2-credentials-file",
        "boto-config",
        "container-role",
        "iam-role",
    }
)
"""What botocore calls the links of its own chain (`METHOD` in `botocore/credentials.py`)."""


def session_of(profile: str) -> Callable[[], Any]:
    """Return a function that makes a session with a profile of the AWS config file."""
    return partial(_default_session, profile)


def _default_session(profile: str | None = None) -> Any:
    # What `aioboto3.Session` wraps: the same chain, without importing boto3 on top. Nor is
    # aioboto3 needed, which pins aiobotocore, and so botocore, to one release.
    from aiobotocore.session import AioSession

    return in_small_bites(AioSession(profile=profile))


def _is_session(candidate: Any) -> bool:
    # A session class has the method, too, but is a function that makes one.
    return hasattr(candidate, "get_credentials") and not isinstance(candidate, type)


def _needed_by(make: Callable[[], Any]) -> str:
    """Return the module to import before *make* is called, which is to be quick then.

    A function of the SDK's own, `botocore.session.get_session` say, came with what it needs.
    """
    function = make.func if isinstance(make, partial) else make
    if function is _default_session:
        return "aiobotocore.session"
    package = str(getattr(function, "__module__", "")).partition(".")[0]
    return package if package in _SDK else "aioboto3"


async def _resolve(session: Any, *, new: bool) -> tuple[Credentials, str] | None:
    chain = session.get_credentials()
    if inspect.isawaitable(chain):
        chain = await chain
    if chain is None:
        return None
    give_way()
    frozen = (_as_fetched(chain) if new else chain).get_frozen_credentials()
    if inspect.isawaitable(frozen):
        frozen = await frozen
    give_way()
    credentials = Credentials(
        access_key_id=frozen.access_key,
        secret_access_key=frozen.secret_key,
        session_token=frozen.token,
        expires_at=_expiry(chain, time.time()),
    )
    return credentials, str(chain.method)


def _as_fetched(chain: Any) -> Any:
    """Return the credentials of a session that is asked for the first time, to be read as they are.

    Agents and processes are asked by `get_credentials()` already, but botocore refreshes
    whatever has less than 15 minutes left as soon as it is read: one look would cost two
    fetches, and fail with the second.
    """
    refresh_needed = getattr(chain, "refresh_needed", None)
    if refresh_needed is None or refresh_needed(refresh_in=0):
        return chain  # nothing to refresh, or nothing fetched yet
    as_they_are = copy.copy(chain)  # the application may hold the original
    as_they_are.refresh_needed = _no
    return as_they_are


def _no(refresh_in: float | None = None) -> bool:
    return False


_WEEK = 7 * 86400
_PRECISION = 0.01


def _expiry(chain: Any, now: float) -> float | None:
    """Return when the credentials end, by the one public way to ask.

    `refresh_needed(refresh_in=n)` says whether less than *n* seconds are left: 26
    questions find the hundredth of a second, never too late. Static credentials have no
    such method.
    """
    refresh_needed = getattr(chain, "refresh_needed", None)
    if refresh_needed is None or not refresh_needed(refresh_in=_WEEK):
        return None
    low, high = 0.0, float(_WEEK)
    while high - low > _PRECISION:
        middle = (low + high) / 2
        if refresh_needed(refresh_in=middle):
            high = middle
        else:
            low = middle
    return now + low


def _no_sdk(error: ImportError) -> ConfigurationError:
    return ConfigurationError(
        f"the AWS SDK cannot be imported: {error}", hint="pip install aioboto3"
    )
