"""AWS's server of certificate authorities, on loopback: what a page downloads from it is ours.

It is reached as in a company without a way out: by an HTTPS proxy, which ends in a server that
has a certificate for AWS's name, from an authority that `SSL_CERT_FILE` trusts.
"""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import trustme

from tests.unit.test_ca_bundle import GOV_EAST, IRELAND

NAME = "truststore.pki.rds.amazonaws.com"


@contextmanager
def truststore(directory: Path) -> Iterator[None]:
    """Serve until the block is left; the environment leads there meanwhile."""
    authority = trustme.CA()
    ca_file = directory / "truststore-ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(NAME).configure_cert(tls)

    class Proxy(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            if self.path != f"{NAME}:443":
                self.send_error(403)
                return
            self.send_response(200)
            self.end_headers()
            with tls.wrap_socket(self.connection, server_side=True) as inner:
                asked = inner.recv(4096).split()[1].decode()
                body = IRELAND + GOV_EAST
                found = asked == "/global/global-bundle.pem"
                head = f"HTTP/1.1 {200 if found else 404} -\r\nContent-Length: {len(body)}\r\n\r\n"
                inner.sendall(head.encode() + body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    os.environ["SSL_CERT_FILE"] = str(ca_file)
    os.environ["HTTPS_PROXY"] = f"http://127.0.0.1:{server.server_port}"
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        del os.environ["SSL_CERT_FILE"], os.environ["HTTPS_PROXY"]
