"""`rds-iam-async ca-bundle`, run as its users run it, against web servers good and bad."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme
from typer.testing import CliRunner, Result

from rds_iam_async import RdsIamError
from rds_iam_async._cli import app
from rds_iam_async._download import MOST, downloaded

from ..unit.test_ca_bundle import EXPIRED, GOV_EAST, IRELAND, PRIVATE_KEY, certificate
from .test_cli import run, run_without

GOOD = IRELAND + EXPIRED + GOV_EAST


class Web:
    """An HTTPS server on loopback; a path has a body, or a way to misbehave."""

    def __init__(self, directory: Path) -> None:
        authority = trustme.CA()
        self.ca_file = str(directory / "web-ca.pem")
        authority.cert_pem.write_to_path(self.ca_file)
        self.bodies: dict[str, bytes] = {}
        self.ways: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.over = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = False  # so that closing waits for them
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(context)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.url = f"https://localhost:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(web) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.asked.append((self.path, self.headers["User-Agent"]))
                if way := web.ways.get(self.path):
                    way(self)
                elif (body := web.bodies.get(self.path)) is None:
                    self.send_error(404)
                else:
                    self.promise(len(body))
                    self.wfile.write(body)

            def promise(self, length: int) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(length))
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    web = Web(tmp_path)
    web.bodies["/good.pem"] = GOOD
    yield web
    web.close()


@pytest.fixture
def trusted(web: Web, monkeypatch: pytest.MonkeyPatch) -> Web:
    """The same, with this process as a client that trusts it."""
    monkeypatch.setenv("SSL_CERT_FILE", web.ca_file)
    return web


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A file with an older bundle in it, alone in its directory."""
    path = tmp_path / "cas" / "rds.pem"
    path.parent.mkdir()
    path.write_bytes(b"old")
    return path


def command(web: Web, path: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    return run("ca-bundle", "--url", web.url + path, *arguments, SSL_CERT_FILE=web.ca_file)


def here(*arguments: str) -> Result:
    """Run the command in this process, which is quicker."""
    return CliRunner().invoke(app, ["ca-bundle", *arguments])


def test_a_good_bundle_is_written_without_what_has_expired(web: Web, target: Path) -> None:
    """And the command says what it holds, of which regions, what is gone and what to do next."""
    ran = command(web, "/good.pem", "--output", str(target))
    assert (ran.returncode, ran.stderr) == (0, "")
    assert target.read_bytes() == IRELAND + GOV_EAST
    assert ran.stdout.splitlines() == [
        f"2 certificate authorities from {web.url}/good.pem",
        "of 2 regions: eu-west-1 us-gov-east-1",
        "without 1 that have expired: Amazon RDS Root 2019 CA (2024-08-22)",
        "the next to expire is Amazon RDS eu-west-1 Root CA RSA2048 G1 (2121-05-22)",
        f"export RDS_IAM_CA_FILE={target}",
    ]
    assert os.listdir(target.parent) == [target.name]
    assert web.asked == [("/good.pem", "rds-iam-async")]


def test_without_a_file_it_goes_to_standard_output_and_the_rest_does_not(web: Web) -> None:
    """`rds-iam-async ca-bundle > rds.pem` works."""
    ran = command(web, "/good.pem")
    assert (ran.returncode, ran.stdout) == (0, (IRELAND + GOV_EAST).decode())
    assert ran.stderr.startswith("2 certificate authorities from ")
    assert "export" not in ran.stderr


def test_the_figures_as_json(web: Web, target: Path) -> None:
    """And nothing else."""
    ran = command(web, "/good.pem", "--json", "--output", str(target))
    figures = json.loads(ran.stdout)
    assert (figures["authorities"], figures["file"]) == (2, str(target))
    assert figures["regions"] == ["eu-west-1", "us-gov-east-1"]
    assert [item["name"] for item in figures["expired"]] == ["Amazon RDS Root 2019 CA"]


BODIES = {
    "empty": (b"", "holds no certificate"),
    "a page": (b"<!DOCTYPE html><title>Sign in</title>", "<!DOCTYPE html>"),
    "cut short": (GOOD[: len(GOOD) // 2], "cut short|does not parse"),
    "all expired": (EXPIRED, "all 1 certificates in it have expired"),
    "a server's": (GOOD + certificate("db.test", authority=False), "'db.test'"),
    "a private key": (GOOD + PRIVATE_KEY, "private key"),
    "too large": (GOOD * (MOST // len(GOOD) + 1), f"larger than {MOST} bytes"),
}


def breaks_off(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(GOOD)))
    handler.end_headers()
    handler.wfile.write(GOOD[: len(IRELAND)])


def breaks_off_in_chunks(handler: BaseHTTPRequestHandler) -> None:
    handler.protocol_version = "HTTP/1.1"
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"%x\r\n%b\r\n" % (len(IRELAND), IRELAND))
    handler.close_connection = True


def redirects_to(place: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def redirect(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", place)
        handler.end_headers()

    return redirect


@pytest.mark.usefixtures("trusted")
class TestWhatIsNoBundle:
    """Exit status 1, one line that says why, and the old file as it was."""

    def refused(self, web: Web, target: Path, path: str, *arguments: str) -> str:
        ran = here("--url", web.url + path, "--output", str(target), *arguments)
        assert (ran.exit_code, ran.stdout) == (1, "")
        assert target.read_bytes() == b"old"
        assert os.listdir(target.parent) == [target.name]
        said, hint = ran.stderr.splitlines()
        assert said.startswith(f"rds-iam-async: {web.url}{path} ")
        assert hint.startswith("hint: ")
        return said

    @pytest.mark.parametrize("kind", BODIES)
    def test_a_body(self, web: Web, target: Path, kind: str) -> None:
        web.bodies["/bad.pem"], why = BODIES[kind]
        said = self.refused(web, target, "/bad.pem")
        assert any(word in said for word in why.split("|"))
        assert "MIG" not in said

    def test_a_page_that_is_not_there(self, web: Web, target: Path) -> None:
        ran = command(web, "/nowhere.pem", "--output", str(target))
        assert (ran.returncode, ran.stdout, target.read_bytes()) == (1, "", b"old")
        assert ran.stderr == (
            f"rds-iam-async: {web.url}/nowhere.pem cannot be read: HTTP Error 404: Not Found\n"
            "hint: check the name of the region\n"
        )

    def test_a_redirect_to_http(self, web: Web, target: Path) -> None:
        web.ways["/moved.pem"] = redirects_to("http://127.0.0.1:1/good.pem")
        assert "http://127.0.0.1:1/good.pem, which is not https" in self.refused(
            web, target, "/moved.pem"
        )

    def test_a_server_that_is_slow(self, web: Web, target: Path) -> None:
        web.ways["/slow.pem"] = lambda handler: (web.over.wait(), None)[1]
        said = self.refused(web, target, "/slow.pem", "--timeout", "0.3")
        assert said.endswith("was not done within 0.3 s")

    def test_a_server_that_drips(self, web: Web) -> None:
        def drip(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.end_headers()
            while not web.over.wait(0.01):
                handler.wfile.write(b"#")

        web.ways["/drip.pem"] = drip
        with pytest.raises(RdsIamError, match=r"was not done within 0\.2 s"):
            downloaded(f"{web.url}/drip.pem", timeout=0.2)

    @pytest.mark.parametrize("way", [breaks_off, breaks_off_in_chunks])
    def test_a_server_that_breaks_off_between_two_certificates(
        self, web: Web, way: Callable[[BaseHTTPRequestHandler], None]
    ) -> None:
        web.ways["/part.pem"] = way
        with pytest.raises(RdsIamError, match=r"ended .* bytes early|cannot be read: Incomplete"):
            downloaded(f"{web.url}/part.pem", timeout=5)

    def test_a_port_where_nobody_listens(self) -> None:
        with pytest.raises(RdsIamError, match=r"cannot be read: .*refused"):
            downloaded("https://127.0.0.1:1/", timeout=5)


@pytest.mark.usefixtures("trusted")
def test_a_redirect_by_https_is_followed(web: Web) -> None:
    """A mirror may move."""
    web.ways["/moved.pem"] = redirects_to("/good.pem")
    assert downloaded(f"{web.url}/moved.pem", timeout=5) == GOOD


def test_a_server_that_is_not_verified_is_not_believed(web: Web, target: Path) -> None:
    """Or whoever is in the way would be trusted with every token from then on."""
    ran = run("ca-bundle", "--url", f"{web.url}/good.pem", "--output", str(target))
    assert (ran.returncode, target.read_bytes()) == (1, b"old")
    assert "CERTIFICATE_VERIFY_FAILED" in ran.stderr
    assert "SSL_CERT_FILE" in ran.stderr
    assert web.asked == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("--url", "http://localhost/good.pem"),
        ("--url", "file:///etc/ssl/cert.pem"),
        ("--region", "Ireland"),
        ("--region", "us-iso-east-1"),
        ("--partition", "aws-moon"),
        ("--region", "eu-west-1", "--partition", "aws"),
        ("--timeout", "0"),
        ("--output", "/"),
    ],
)
def test_a_wrong_call_is_exit_status_2(arguments: tuple[str, ...]) -> None:
    """Before anything is asked of anybody."""
    ran = here(*arguments)
    assert (ran.exit_code, ran.stdout) == (2, "")


def test_a_directory_that_is_not_there_is_found_before_the_download(
    trusted: Web, tmp_path: Path
) -> None:
    """Exit status 2: the call is wrong."""
    output = str(tmp_path / "nowhere" / "rds.pem")
    ran = here("--url", f"{trusted.url}/good.pem", "--output", output)
    assert (ran.exit_code, ran.stdout, trusted.asked) == (2, "", [])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_may_not_be_written_is_found_before_the_download(
    trusted: Web, target: Path
) -> None:
    """Likewise."""
    target.parent.chmod(0o500)
    try:
        ran = here("--url", f"{trusted.url}/good.pem", "--output", str(target))
        assert (ran.exit_code, ran.stdout, trusted.asked) == (2, "", [])
    finally:
        target.parent.chmod(0o700)


def test_a_missing_package_is_named() -> None:
    """No traceback where the extra is not installed."""
    ran = run_without("cryptography", "ca-bundle")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == (
        "rds-iam-async: cryptography is not installed: pip install 'rds-iam-async[cli,local]'\n"
    )
