"""What AWS would give a process: keys, and the environment that carries them."""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
from collections.abc import Generator, Mapping

from .._token import Credentials


def draw_key_pair() -> Credentials:
    """Draw a key pair of the shape that AWS gives to a user."""
    return Credentials(
        access_key_id=f"AKIA{base64.b32encode(secrets.token_bytes(10)).decode()}",
        secret_access_key=base64.b64encode(secrets.token_bytes(30)).decode(),
    )


def environment(credentials: Credentials, *, region: str, ca_file: str) -> dict[str, str]:
    """Return the variables that let a process mint tokens and trust the server.

    Args:
        credentials: What to sign with.
        region: Where the database is.
        ca_file: The authority behind the server's certificate.
    """
    return {
        "AWS_ACCESS_KEY_ID": credentials.access_key_id,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_access_key,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        # Nobody at 169.254.169.254 is to be asked who we are.
        "AWS_EC2_METADATA_DISABLED": "true",
        "RDS_IAM_CA_FILE": ca_file,
    }


@contextlib.contextmanager
def installed(wanted: Mapping[str, str]) -> Generator[None]:
    """Give this process the variables *wanted*, and no other AWS variables.

    One left over, such as a developer's AWS_PROFILE or AWS_SESSION_TOKEN, would win or mix.
    """
    before = _concerned(wanted)
    try:
        _replace(before, wanted)
        yield
    finally:
        _replace(_concerned(wanted), before)


def _concerned(wanted: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith("AWS_") or name in wanted
    }


def _replace(old: Mapping[str, str], new: Mapping[str, str]) -> None:
    for name in old:
        os.environ.pop(name, None)
    os.environ.update(new)
