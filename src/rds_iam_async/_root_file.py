"""The roots to trust as one file, for libpq, which takes no `ssl.SSLContext`."""

from __future__ import annotations

import contextlib
import os
import re
import ssl
import tempfile
import weakref
from pathlib import Path

from ._errors import ConfigurationError
from ._tls import HOW_TO_TRUST

_PEM = re.compile(rb"-----BEGIN ([^-]+)-----(.+?)-----END \1-----", re.DOTALL)
_HASHED = re.compile(r"[0-9a-f]{8}\.\d+")
"""How OpenSSL names the files in a directory of roots (openssl-rehash(1))."""


class RootFile(str):
    """The path of a file that is there as long as this object is."""


def make_root_file(ca_file: str | None, *, alone: bool = False) -> RootFile:
    """Return a file with the system's roots and those of *ca_file*, each once.

    With *alone* the system's are left out.

    libpq parses all of it for each connection, 0.15 ms of CPU for each root. The file is in
    memory where the platform can do that: what lies in /tmp for days gets cleaned up on
    many machines, and then no connection could be verified any more.

    Raises:
        ConfigurationError: When *ca_file* does not parse, or there are no roots at all.
    """
    own = _own_roots(ca_file)
    roots = own if alone else own + _system_roots()
    if not roots:
        raise ConfigurationError("this system has no roots to trust", hint=HOW_TO_TRUST)
    roots = _each_once(roots)
    return _in_memory(roots) or _on_disk(roots)


def _each_once(roots: bytes) -> bytes:
    """Drop what is there twice: most systems have a file of all roots, and a directory of them."""
    found = {(label, b"".join(text.split())): text for label, text in _PEM.findall(roots)}
    return b"".join(
        b"-----BEGIN %b-----%b-----END %b-----\n" % (label, text, label)
        for (label, _), text in found.items()
    )


def _own_roots(ca_file: str | None) -> bytes:
    if ca_file is None:
        return b""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=ca_file)
        return Path(ca_file).read_bytes() + b"\n"
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"the CA file {ca_file!r} does not parse: {error}", hint=HOW_TO_TRUST
        ) from error


def _system_roots() -> bytes:
    """Return what `ssl.create_default_context()` trusts.

    OpenSSL reads a directory of roots only when it looks for one, so they are not among
    the context's own.
    """
    loaded = ssl.create_default_context().get_ca_certs(binary_form=True)
    roots = "".join(ssl.DER_cert_to_PEM_cert(certificate) for certificate in loaded).encode()
    directory: str | None = ssl.get_default_verify_paths().capath  # typeshed knows no None
    if directory:
        for file in sorted(Path(directory).iterdir()):
            if _HASHED.fullmatch(file.name) and file.is_file():
                roots += file.read_bytes() + b"\n"
    return roots


def _in_memory(roots: bytes) -> RootFile | None:
    if not hasattr(os, "memfd_create"):
        return None
    try:
        descriptor = os.memfd_create("rds_iam_async-roots")
    except OSError:  # seccomp, vm.memfd_noexec=2, an old kernel
        return None
    path = RootFile(f"/proc/self/fd/{descriptor}")
    if not os.path.exists(path):  # a container without /proc
        os.close(descriptor)
        return None
    weakref.finalize(path, _close, descriptor, _identity(descriptor)).atexit = False
    with open(descriptor, "wb", closefd=False) as file:
        file.write(roots)
    return path


def _identity(descriptor: int) -> tuple[int, int]:
    file = os.fstat(descriptor)
    return file.st_dev, file.st_ino


def _close(descriptor: int, identity: tuple[int, int]) -> None:
    # A daemon that closed all it had inherited may have given the number to another file.
    with contextlib.suppress(OSError):
        if _identity(descriptor) == identity:
            os.close(descriptor)


def _on_disk(roots: bytes) -> RootFile:
    with tempfile.NamedTemporaryFile(prefix="rds_iam_async-", suffix=".pem", delete=False) as file:
        file.write(roots)
    path = RootFile(file.name)
    weakref.finalize(path, _remove, file.name, os.getpid())
    return path


def _remove(name: str, owner: int) -> None:
    if os.getpid() == owner:  # a forked child leaves its parent's file alone
        Path(name).unlink(missing_ok=True)
