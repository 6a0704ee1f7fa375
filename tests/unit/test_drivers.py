"""What each driver's words say about TLS: understood, or refused with the reason."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from rds_iam_async import ConfigurationError
from rds_iam_async._drivers import ASYNC_DRIVERS, SYNC_DRIVERS, driver_named
from rds_iam_async._tls import Trust
from rds_iam_async._verification import Verification

ALL = [(name, True) for name in ASYNC_DRIVERS] + [(name, False) for name in SYNC_DRIVERS]
POSTGRESQL = [one for one in ALL if one[0].startswith("postgresql")]
LIBPQ = [one for one in POSTGRESQL if "asyncpg" not in one[0]]
MYSQL = [one for one in ALL if one[0].startswith("mysql")]
UNVERIFIED = ssl._create_unverified_context()
NO_NAME = ssl.create_default_context()
NO_NAME.check_hostname = False


def weak(drivers: list[tuple[str, bool]], *arguments: dict[str, Any]) -> list[Any]:
    return [(*driver, one) for driver in drivers for one in arguments]


WEAK = [
    *weak(POSTGRESQL, *({"sslmode": m} for m in ("disable", "allow", "prefer", "require", ""))),
    *weak(POSTGRESQL, {"sslnegotiation": "maybe"}),
    *weak(LIBPQ, {"gssencmode": "prefer"}, {"gssencmode": "require"}),
    *weak(
        POSTGRESQL[:1],
        *({"ssl": m} for m in ("prefer", "require", "verify-ca", True, False, UNVERIFIED, NO_NAME)),
    ),
    *weak(
        MYSQL,
        {"ssl": False},
        {"ssl": "no"},
        {"ssl": UNVERIFIED},
        {"ssl": NO_NAME},
        {"ssl": {"ca": "/ca.pem", "check_hostname": False}},
        {"ssl": {"verify_mode": "none"}},
        {"ssl_check_hostname": "false"},
        {"ssl_verify_identity": False},
        {"ssl_disabled": True},
        {"ssl_key": "/key.pem"},
    ),
]


@pytest.mark.parametrize(("name", "is_async", "arguments"), WEAK)
def test_what_would_weaken_tls_is_refused_with_the_fix(
    name: str, is_async: bool, arguments: dict[str, Any]
) -> None:
    """L14: the message names the argument."""
    with pytest.raises(ConfigurationError, match=r"ssl|gssencmode") as caught:
        driver_named(name, is_async=is_async).understand(arguments)
    assert caught.value.hint


OWN = ssl.create_default_context()
GOOD: list[tuple[str, bool, dict[str, Any], dict[str, Any]]] = [
    *((*d, {}, {}) for d in ALL),
    *((*d, {"sslmode": "verify-full"}, {}) for d in POSTGRESQL),
    *((*d, {"sslmode": "verify-ca"}, {}) for d in POSTGRESQL),
    *((*d, {"sslrootcert": "/ca.pem"}, {"ca_file": "/ca.pem"}) for d in POSTGRESQL),
    *((*d, {"sslrootcert": "system"}, {}) for d in POSTGRESQL),
    *((*d, {"sslnegotiation": "direct"}, {"keep": {"sslnegotiation": "direct"}}) for d in LIBPQ),
    (*POSTGRESQL[0], {"sslnegotiation": "direct"}, {"keep": {"direct_tls": True}}),
    (*POSTGRESQL[0], {"sslnegotiation": "postgres"}, {}),
    (*POSTGRESQL[0], {"ssl": "verify-full"}, {}),
    (*POSTGRESQL[0], {"ssl": OWN}, {"context": OWN}),
    *((*d, {"gssencmode": "disable"}, {}) for d in LIBPQ),
    *((*d, {"ssl": OWN}, {"context": OWN}) for d in MYSQL),
    *((*d, {"ssl": True}, {}) for d in MYSQL),
    *((*d, {"ssl": {"ca": "/ca.pem"}}, {"ca_file": "/ca.pem"}) for d in MYSQL),
    *((*d, {"ssl_ca": "/ca.pem"}, {"ca_file": "/ca.pem"}) for d in MYSQL),
    *((*d, {"ssl_check_hostname": True, "ssl_verify_cert": "true"}, {}) for d in MYSQL),
]


@pytest.mark.parametrize(("name", "is_async", "arguments", "said"), GOOD)
def test_what_does_not_weaken_tls_is_understood(
    name: str, is_async: bool, arguments: dict[str, Any], said: dict[str, Any]
) -> None:
    """libpq's words for every driver of PostgreSQL; `verify-ca` is exceeded."""
    understood = driver_named(name, is_async=is_async).understand(arguments)
    assert understood.ca_file == said.get("ca_file")
    assert understood.context is said.get("context")
    assert understood.keep == said.get("keep", {})


@pytest.mark.parametrize(("name", "is_async"), ALL)
def test_our_arguments_take_the_place_of_all_others_about_tls(name: str, is_async: bool) -> None:
    """What was understood at attach does not reach a driver that would not know it."""
    driver = driver_named(name, is_async=is_async)
    made: Any = OWN if driver.takes_context else "/roots.pem"
    verification = Verification(driver, Trust(lambda: made), driver.understand({}))
    ours = verification.build()
    imposed = verification.imposed_on({"user": "app", **ours})
    assert imposed == {"user": "app", **ours}
    word = {"sslmode": "verify-full"} if name.startswith("postgresql") else {"ssl_ca": None}
    assert verification.imposed_on({"user": "app", **word}) == {"user": "app", **ours}


@pytest.mark.parametrize(("name", "is_async"), LIBPQ)
def test_libpq_is_told_to_verify_and_to_use_nothing_but_tls(name: str, is_async: bool) -> None:
    """Its defaults are `prefer`, and GSSAPI first; a hash of a token is no use to anybody."""
    arguments = driver_named(name, is_async=is_async).tls_arguments("/roots.pem")
    assert arguments == {
        "sslmode": "verify-full",
        "sslrootcert": "/roots.pem",
        "gssencmode": "disable",
        "require_auth": "password",
    }


@pytest.mark.parametrize(("name", "is_async"), LIBPQ)
@pytest.mark.anyio
async def test_libpq_gets_the_name_beside_the_address(name: str, is_async: bool) -> None:
    """A tunnel: the name is what is verified, every address of the dialled one is tried."""
    driver = driver_named(name, is_async=is_async)
    verification = Verification(
        driver, Trust(lambda: "/roots.pem"), driver.understand({}), server_name="db.test"
    )
    aimed = await verification.aimed({"host": "127.0.0.1", "port": 6543, "user": "app"})
    assert aimed == {"host": "db.test", "hostaddr": "127.0.0.1", "port": 6543, "user": "app"}
    assert verification.aimed_now({"host": "127.0.0.1", "port": 6543}) == {
        "host": "db.test",
        "hostaddr": "127.0.0.1",
        "port": 6543,
    }


@pytest.mark.parametrize("name", ["postgresql+pg8000", "mysql+mysqldb", "postgresql+psycopg2"])
def test_an_unknown_driver_is_refused_with_the_ones_that_are_known(name: str) -> None:
    """psycopg2 is one of a sync engine only."""
    with pytest.raises(ConfigurationError, match="not supported") as caught:
        driver_named(name, is_async=True)
    assert "mysql+asyncmy://" in caught.value.hint


def test_mariadb_is_mysqls_other_name() -> None:
    """SQLAlchemy has a dialect of that name with the same drivers."""
    assert driver_named("mariadb+asyncmy", is_async=True).name == "mysql+asyncmy"
    assert driver_named("postgresql+psycopg_async", is_async=True).name == "postgresql+psycopg"
