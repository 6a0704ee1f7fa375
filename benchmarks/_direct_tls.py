"""A PostgreSQL that ends TLS itself and asks for a password: what a gate is compared with."""

from __future__ import annotations

import secrets
import socket
import ssl
from pathlib import Path
from typing import Self

import trustme

from rds_iam_async.testing._server_process import Plan, ServerProcess


def binaries_with_tls() -> Path | None:
    """Return Debian's newest server: those of the wheels are built without TLS."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return found[-1].parent if found else None


class DirectTls:
    """One server on 127.0.0.1, with the settings of the local RDS."""

    def __init__(self, binaries: Path) -> None:
        self.password = secrets.token_urlsafe(24)
        self.port = _free_port()
        self._binaries = binaries
        self._process = ServerProcess("PostgreSQL", hint="see its log")

    def __enter__(self) -> Self:
        process = self._process
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost")
        chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems).decode()
        certificate_file = process.write("server.crt", chain)
        key_file = process.write("server.key", certificate.private_key_pem.bytes().decode())
        self.tls = ssl.create_default_context()
        authority.configure_trust(self.tls)
        process.write("pg_hba.conf", "hostssl all all 127.0.0.1/32 password\n")
        process.write("password", self.password)
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(process.socket_directory),
            "hba_file": f"{process.directory}/pg_hba.conf",
            "ssl": "on",
            "ssl_cert_file": str(certificate_file),
            "ssl_key_file": str(key_file),
            "max_connections": "200",
            "shared_buffers": "32MB",
            "fsync": "off",
        }
        data = f"{process.directory}/data"
        options = [f"--{name}={value}" for name, value in settings.items()]
        process.prepare(
            Plan(
                prepare=[
                    f"{self._binaries}/initdb",
                    f"--pgdata={data}",
                    "--username=postgres",
                    f"--pwfile={process.directory}/password",
                    "--auth=password",
                    "--encoding=UTF8",
                    "--no-locale",
                    "--no-sync",
                ],
                serve=[f"{self._binaries}/postgres", "-D", data, *options],
                restart="SIGINT",
                end="SIGQUIT",
            )
        )
        process.start()
        process.wait_until_ready()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stop()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
