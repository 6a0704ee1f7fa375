"""Fetch keys for the AWS SDK: the `credential_process` of the local AWS.

This is a program. It is given a port on loopback and a path, and prints what it gets
there, whatever that is; a refusal goes to standard error. It imports next to nothing,
to start fast.
"""

from __future__ import annotations

import socket
import sys


def main() -> None:
    """Ask, and print the answer."""
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
        connection.sendall(f"GET {sys.argv[2]} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        received = b""
        while more := connection.recv(65536):
            received += more
    head, _, body = received.decode().partition("\r\n\r\n")
    status = head.split(" ")[1]
    if status != "200":
        sys.exit(f"no keys: HTTP {status}")
    sys.stdout.write(body)


if __name__ == "__main__":
    main()
