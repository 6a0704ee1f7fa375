"""L4, L9: no token and no key in any log at DEBUG, any repr, any traceback's locals, any error."""

from __future__ import annotations

import http.server
import json
import logging
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, quote

import pytest
from aiobotocore.session import get_session
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from rds_iam_async import Credentials, TokenRefresher
from rds_iam_async.telemetry import Event, log_events
from rds_iam_async.testing import LocalRds

from .workload import RoleSession, one_connect

pytestmark = pytest.mark.anyio


class Everything(logging.Handler):
    """Keeps every record of every logger, formatted with its traceback."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.text = ""
        self.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s %(args)r"))

    def emit(self, record: logging.LogRecord) -> None:
        self.text += self.format(record) + "\n"


@pytest.fixture
def everything() -> Iterator[Everything]:
    handler = Everything()
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.DEBUG)
    root.addHandler(handler)
    yield handler
    root.removeHandler(handler)
    root.setLevel(before)


class LocalSts:
    """AssumeRoleWithWebIdentity on loopback: hands out one key pair, in XML as STS does."""

    def __init__(self) -> None:
        self.keys = Credentials(
            access_key_id="ASIASTSSTSSTSSTSSTST",
            secret_access_key="sts+secret/access+key",
            session_token="sts/session+token==" * 20,
        )
        self.truncated = False
        self.calls: list[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                outer.calls.append(parse_qs(body)["Action"][0])
                answer = outer.answer()
                self.send_response(200)
                self.send_header("Content-Type", "text/xml")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def answer(self) -> bytes:
        end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
        action = "AssumeRoleWithWebIdentity"
        xml = (
            f'<{action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{action}Result>'
            f"<Credentials><AccessKeyId>{self.keys.access_key_id}</AccessKeyId>"
            f"<SecretAccessKey>{self.keys.secret_access_key}</SecretAccessKey>"
            f"<SessionToken>{self.keys.session_token}</SessionToken>"
            f"<Expiration>{end}</Expiration></Credentials>"
            "<AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/app/s</Arn>"
            "<AssumedRoleId>AROA:s</AssumedRoleId></AssumedRoleUser>"
            f"</{action}Result></{action}Response>"
        ).encode()
        return xml[: xml.index(b"<Expiration>")] if self.truncated else xml


@pytest.fixture
def sts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalSts]:
    sts = LocalSts()
    (tmp_path / "web-identity-token").write_text("a.web.identity")
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "PROFILE"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/app")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "web-identity-token"))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    port = sts.server.server_address[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{port}")
    thread = threading.Thread(target=sts.server.serve_forever)
    thread.start()
    yield sts
    sts.server.shutdown()
    thread.join()
    sts.server.server_close()


def every_shape_of(secret: str) -> set[str]:
    """A secret as it is, quoted for a URL, escaped for JSON and by repr."""
    return {secret, quote(secret, safe=""), json.dumps(secret)[1:-1], repr(str(secret))[1:-1]}


def signature_of(token: str) -> str:
    return token.partition("X-Amz-Signature=")[2]


async def test_keys_of_sts_and_tokens_are_in_no_log(
    rds: LocalRds, sts: LocalSts, everything: Everything
) -> None:
    """The AWS SDK writes STS bodies to its DEBUG log; asyncio, SQLAlchemy and we write ours."""
    rds.trust(sts.keys)
    engine = create_async_engine(rds.url, poolclass=NullPool, echo="debug")
    events: list[Event] = []

    def observe(event: Event) -> None:
        log_events(event)
        events.append(event)
        logging.getLogger("test").debug("%r", event)

    refresher = TokenRefresher(engine, ca_file=rds.ca_file, region=rds.region, observe=observe)
    async with refresher:
        await one_connect(engine)
        first = await refresher.token(rds.endpoint)
        rds.revoke()
        await one_connect(engine)
        second = await refresher.token(rds.endpoint)
        logging.getLogger("test").debug("%r %r %r", refresher, refresher.status(), first)
    await engine.dispose()
    assert len(sts.calls) == 2
    assert first.password != second.password
    assert "minted a token" in everything.text
    secrets = [sts.keys.secret_access_key, sts.keys.session_token or ""]
    secrets += [signature_of(first.password), signature_of(second.password)]
    for secret in secrets:
        for shape in every_shape_of(secret):
            assert shape not in everything.text


async def test_the_sdk_does_log_them_when_it_is_not_us_who_ask(
    sts: LocalSts, everything: Everything
) -> None:
    """The test above can fail: this is what the SDK's DEBUG log shows by itself."""
    chain = await get_session().get_credentials()
    assert chain is not None
    await chain.get_frozen_credentials()
    assert sts.keys.secret_access_key in everything.text


async def test_a_truncated_answer_of_sts_shows_no_keys(
    sts: LocalSts, everything: Everything
) -> None:
    """botocore quotes the body that it cannot parse in its exception."""
    from rds_iam_async import CredentialsError
    from rds_iam_async._credentials import SessionCredentials

    sts.truncated = True
    with pytest.raises(CredentialsError) as caught:
        await SessionCredentials().snapshot()
    logging.getLogger("test").error("failed", exc_info=caught.value)
    shown = traceback_with_locals(caught.value) + everything.text
    assert sts.calls
    for shape in every_shape_of(sts.keys.secret_access_key):
        assert shape not in shown


def traceback_with_locals(error: BaseException) -> str:
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


async def test_no_secret_in_the_traceback_of_a_failed_connect(rds: LocalRds) -> None:
    """asyncpg keeps the password in the locals of a dozen frames (asyncpg#1152)."""
    role = RoleSession(rds)
    engine = create_async_engine(rds.url, poolclass=NullPool)
    refresher = TokenRefresher(engine, ca_file=rds.ca_file, region=rds.region, credentials=role)
    async with refresher:
        token = await refresher.token(rds.endpoint)
        rds.refuse(2)
        with pytest.raises(Exception, match="PAM") as caught:
            await one_connect(engine)
        keys = await role.snapshot()
        again = await refresher.token(rds.endpoint)
    shown = traceback_with_locals(caught.value)
    assert "password = <secret>" in shown or "'password': <secret>" in shown
    for secret in (signature_of(token.password), signature_of(again.password)):
        assert secret not in shown
    assert keys.secret_access_key not in shown
    await engine.dispose()
