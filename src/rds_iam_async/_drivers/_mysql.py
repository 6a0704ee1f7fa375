"""Drivers of MySQL and MariaDB: `mysql+asyncmy`, `mysql+aiomysql`, `mysql+pymysql`.

All answer the server's wish for `mysql_clear_password`, which is what RDS asks for, without
being told to. So it has to be made sure that TLS is up by then.
"""

from __future__ import annotations

import importlib
import ssl
from collections.abc import Callable, Mapping
from typing import Any, cast

from .._errors import ConfigurationError
from ._driver import Driver, Said, nothing_to_explain, verified

PORT = 3306

_ACCESS_DENIED = 1045
"""ER_ACCESS_DENIED_ERROR (MySQL, "Server Error Message Reference")."""

_CLIENT_SSL = 0x800
"""A flag of the server's greeting: it offers TLS (MySQL, "Capabilities Flags")."""

_RESERVED = frozenset(
    {
        *("password", "passwd", "password_creator", "user", "host", "port", "unix_socket", "sock"),
        *("read_default_file", "read_default_group", "named_pipe"),
    }
)
_FLAGS = frozenset({"ssl_check_hostname", "ssl_verify_cert", "ssl_verify_identity"})
_ON = (None, True, "true", "True", "1", 1)
_OFF = (None, False, "false", "False", "0", 0)
_TLS_NAMES = frozenset({"ssl", "ssl_ca", "ssl_disabled", *_FLAGS})
_OWN_CONTEXT = frozenset({"ssl_key", "ssl_cert", "ssl_capath", "ssl_cipher", "ssl_key_password"})


def asyncmy_driver() -> Driver:
    """Return asyncmy's names and habits. It sends nothing in clear once it has a context."""
    return _driver("mysql+asyncmy", _untyped("asyncmy").connect)


def aiomysql_driver() -> Driver:
    """Return aiomysql's names and habits.

    It has no public hook between the server's greeting, which offers TLS or not, and the
    login, which it would send in clear text where none is offered.
    """
    aiomysql = _untyped("aiomysql")
    _still_there(aiomysql.Connection, "_get_server_information", "_connect")

    async def greeted(connection: Any) -> None:
        await aiomysql.Connection._get_server_information(connection)
        _insist_on_tls(connection, aiomysql.OperationalError)

    tls_only = _subclass(aiomysql.Connection, greeted)

    async def connect(*args: Any, **kwargs: Any) -> Any:
        connection = tls_only(*args, **kwargs)
        await connection._connect()
        return connection

    return _driver("mysql+aiomysql", connect)


def pymysql_driver() -> Driver:
    """Return PyMySQL's names and habits. Its older releases take TLS for a wish, too."""
    pymysql = _untyped("pymysql")
    _still_there(pymysql.connections.Connection, "_get_server_information")

    def greeted(connection: Any) -> None:
        pymysql.connections.Connection._get_server_information(connection)
        _insist_on_tls(connection, pymysql.err.OperationalError)

    return _driver("mysql+pymysql", _subclass(pymysql.connections.Connection, greeted))


def _driver(name: str, connect: Callable[..., Any]) -> Driver:
    return Driver(
        name=name,
        default_port=PORT,
        connect=connect,
        reserved=_RESERVED,
        tls_names=_TLS_NAMES | _OWN_CONTEXT,
        understand=_understand,
        tls_arguments=lambda context: {"ssl": context},
        is_refusal=lambda error: error.args[:1] == (_ACCESS_DENIED,),
        explained=nothing_to_explain,
        shows_password=True,  # as bytes, where it is written to the socket
    )


def _understand(arguments: Mapping[str, Any]) -> Said:
    """Return what `ssl` says, and the `ssl_…` arguments that SQLAlchemy gathers in it."""
    value = arguments.get("ssl")
    if isinstance(value, ssl.SSLContext):
        return Said(context=verified("ssl", value))
    words: dict[str, Any] = {n: v for n, v in arguments.items() if n != "ssl"}
    if isinstance(value, Mapping):
        gathered = cast("Mapping[str, Any]", value)
        words |= {f"ssl_{name}": said for name, said in gathered.items()}
    elif value not in _ON:
        raise _weak("ssl", value)
    for name, said in words.items():
        if name in _OWN_CONTEXT:
            raise ConfigurationError(
                f"{name} is not understood", hint="load it into an SSLContext, passed as tls="
            )
        if (name in _FLAGS and said not in _ON) or (name == "ssl_disabled" and said not in _OFF):
            raise _weak(name, said)
        if name not in _TLS_NAMES:
            raise ConfigurationError(f"{name}={said!r} is not understood", hint="leave it out")
    ca_file = words.get("ssl_ca")
    return Said(ca_file=None if ca_file is None else str(ca_file))


def _weak(name: str, value: object) -> ConfigurationError:
    return ConfigurationError(
        f"{name}={value!r} does not make sure that the token goes to your database only",
        hint="leave it out (TLS is verified, host name included); name your CA file as "
        "ssl_ca or ca_file=, or pass an SSLContext of your own as tls=",
    )


def _untyped(module: str) -> Any:
    return importlib.import_module(module)


def _subclass(connection: Any, greeted: Callable[[Any], Any]) -> Any:
    return type(connection.__name__, (connection,), {"_get_server_information": greeted})


def _insist_on_tls(connection: Any, error: type[Exception]) -> None:
    if not connection.server_capabilities & _CLIENT_SSL:
        raise error(2026, "the server offers no TLS, so it was not sent the IAM token")


def _still_there(connection: Any, *names: str) -> None:
    for name in names:
        if not callable(getattr(connection, name, None)):
            raise ConfigurationError(
                f"this release of {connection.__module__.partition('.')[0]} has no {name}(), "
                "so it cannot be kept from sending tokens in clear text",
                hint="use an older release of it, or another driver",
            )
