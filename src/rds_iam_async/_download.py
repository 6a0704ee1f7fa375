"""A file from a web server, verified and whole; and a file put on disk, whole."""

from __future__ import annotations

import contextlib
import os
import secrets
import ssl
import threading
import time
import urllib.request
from concurrent.futures import Future
from http.client import HTTPException, HTTPMessage, HTTPResponse
from typing import IO
from urllib.error import HTTPError

from ._errors import ConfigurationError, RdsIamError

MOST = 4 * 2**20
"""The most that is read, in bytes: AWS's largest bundle is a twentieth of it."""

_PIECE = 2**16


def downloaded(url: str, *, timeout: float) -> bytes:
    """Return what is at *url*, from a server that is verified by the system's roots.

    Args:
        url: With https, as must be each that it redirects to.
        timeout: The bound on it all, in seconds.

    Raises:
        ConfigurationError: When *url* is not https.
        RdsIamError: When that fails; also for more than `MOST` bytes.
    """
    if not _is_https(url):
        raise ConfigurationError(f"{url!r} is not https", hint="what comes by http is anybody's")
    outcome: Future[bytes] = Future()

    def fetch() -> None:
        try:
            outcome.set_result(_fetched(url, timeout=timeout))
        except BaseException as error:
            outcome.set_exception(error)

    # In a thread that can be left behind: a server that drips headers holds up its reader.
    threading.Thread(target=fetch, daemon=True).start()
    try:
        return outcome.result(timeout)
    except TimeoutError as error:
        raise _failed(f"{url} was not done within {timeout:g} s") from error


def _fetched(url: str, *, timeout: float) -> bytes:
    end = time.monotonic() + timeout
    try:
        opener = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=ssl.create_default_context()), _OnlyHttps()
        )
        opener.addheaders = [("User-Agent", "rds-iam-async")]
        with opener.open(url, timeout=timeout) as response:
            data = _read(response, end=end)
            # A reader in pieces is not told by `http.client` that the last one is missing.
            if response.length:
                raise _failed(f"{url} ended {response.length} bytes early")
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(error, HTTPError):
            error.close()
        if isinstance(getattr(error, "reason", error), TimeoutError):
            raise _failed(f"{url} was not done within {timeout:g} s") from error
        why = error if isinstance(error, HTTPError) else getattr(error, "reason", error)
        raise _failed(f"{url} cannot be read: {why}", hint=_hint(error)) from error
    return data


def _read(response: HTTPResponse, *, end: float) -> bytes:
    data = bytearray()
    while piece := response.read1(_PIECE):
        data += piece
        if len(data) > MOST:
            raise _failed(f"{response.url} is larger than {MOST} bytes")
        if time.monotonic() > end:
            raise TimeoutError
    return bytes(data)


def _failed(what: str, *, hint: str | None = None) -> RdsIamError:
    return RdsIamError(what, hint=hint or "try again; a proxy is taken from HTTPS_PROXY")


def _hint(error: BaseException) -> str | None:
    if getattr(error, "code", None) in (403, 404):  # S3 says 403 where there is nothing
        return "check the name of the region"
    if isinstance(getattr(error, "reason", None), ssl.SSLError):
        return "the web server is verified by the system's roots: set SSL_CERT_FILE to others"
    return None


def _is_https(url: str) -> bool:
    return url.lower().startswith("https://")


class _OnlyHttps(urllib.request.HTTPRedirectHandler):
    """Trust that came in clear text is anybody's."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if not _is_https(newurl):
            fp.close()
            raise _failed(f"{req.full_url} redirects to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def write_whole(path: str | os.PathLike[str], data: bytes) -> None:
    """Put *data* there all at once: a reader finds the old file or the new one, never a part.

    Args:
        path: The file; a link is followed. The new one has the mode that the umask gives.
        data: All of it.

    Raises:
        RdsIamError: When it cannot be written; the old file is as it was.
    """
    target = os.path.realpath(path)
    draft = f"{target}.{secrets.token_hex(4)}.tmp"
    try:
        with open(draft, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(draft)
        if isinstance(error, OSError):
            raise _failed(
                f"{target} cannot be written: {error.strerror}", hint="the old file is as it was"
            ) from error
        raise
