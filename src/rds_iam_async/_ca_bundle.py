"""AWS's bundle of certificate authorities: where it is, what is in it, what of it is good."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ._errors import ConfigurationError, RdsIamError
from ._region import REGION, partition_of
from ._tls import BUNDLE

PARTITIONS = {
    "aws": BUNDLE.removesuffix("/global/global-bundle.pem"),
    "aws-cn": "https://rds-truststore.s3.cn-north-1.amazonaws.com.cn",
    "aws-us-gov": "https://truststore.pki.us-gov-west-1.rds.amazonaws.com",
}
"""Where the bundles of a partition are; AWS documents no public place for the others.

Source:
    UsingWithRDS.SSL, in the guides of docs.aws.amazon.com and of docs.amazonaws.cn.
"""

_HEAD = b"-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """One certificate authority of a bundle.

    Attributes:
        name: Its common name, such as `Amazon RDS eu-west-1 Root CA RSA2048 G1`.
        region: What region the name says; `None` when it says none.
        expires_at: Unix seconds.
        signs: Whether it may sign other certificates at all.
        pem: The certificate.
    """

    name: str
    region: str | None
    expires_at: float
    signs: bool
    pem: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What is worth keeping of a bundle, and what is not.

    Attributes:
        url: Where it was.
        kept: Those that have not expired, in the order of the bundle.
        expired: Those that have.
    """

    url: str
    kept: tuple[Authority, ...]
    expired: tuple[Authority, ...]

    @property
    def pem(self) -> bytes:
        """The certificates that are kept, for a file."""
        return b"".join(authority.pem for authority in self.kept)

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions of those that are kept, in order."""
        return tuple(sorted({item.region for item in self.kept if item.region}))

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain data that JSON can take."""
        return {
            "url": self.url,
            "authorities": len(self.kept),
            "regions": list(self.regions),
            "first_expires_at": min(item.expires_at for item in self.kept),
            "expired": [{"name": x.name, "expires_at": x.expires_at} for x in self.expired],
        }


def url_of(*, region: str | None = None, partition: str | None = None) -> str:
    """Return where AWS keeps the bundle of one region, or of all regions of a partition.

    Args:
        region: Such as `eu-west-1`.
        partition: Such as `aws-cn`; `None` means the commercial one.

    Raises:
        ConfigurationError: When it is none, or its bundle is at no public place.
    """
    if region is not None and not re.fullmatch(REGION, region):
        raise ConfigurationError(f"{region!r} is not a region", hint="write it like eu-west-1")
    partition = partition or (partition_of(region) if region else None) or "aws"
    if partition not in PARTITIONS:
        raise ConfigurationError(
            f"AWS documents a public bundle for {', '.join(PARTITIONS)}, not for {partition!r}",
            hint="pass the URL of a mirror of your own",
        )
    name = region or "global"
    return f"{PARTITIONS[partition]}/{name}/{name}-bundle.pem"


def inspected(data: bytes, *, url: str, now: float) -> Bundle:
    """Return what *data* holds, sorted by whether it is still good.

    Args:
        data: Certificates in PEM.
        url: Where it was, for messages.
        now: Unix seconds.

    Raises:
        RdsIamError: When it is anything but certificates of authorities, or all have expired.
    """
    if b"PRIVATE KEY-----" in data:
        raise _useless(url, "it holds a private key")
    heads = data.count(_HEAD)
    if not heads:
        begins = data.lstrip()[:40].decode("ascii", "replace")
        raise _useless(url, f"it holds no certificate in PEM, and begins {begins!r}")
    try:
        found = x509.load_pem_x509_certificates(data)
        authorities = [_authority(certificate) for certificate in found]
    except ValueError as error:
        raise _useless(url, f"a certificate in it does not parse: {error}") from error
    if len(found) != heads:
        raise _useless(url, f"it is cut short: {heads} certificates begin, {len(found)} end")
    for authority in authorities:
        if not authority.signs:
            raise _useless(url, f"{authority.name!r} in it is no certificate authority")
    kept = tuple(item for item in authorities if item.expires_at >= now)
    if not kept:
        raise _useless(url, f"all {heads} certificates in it have expired")
    expired = tuple(item for item in authorities if item.expires_at < now)
    return Bundle(url=url, kept=kept, expired=expired)


def _useless(url: str, why: str) -> RdsIamError:
    return RdsIamError(
        f"{url} is no bundle of certificate authorities: {why}",
        hint=f"open it in a browser; AWS's own is {BUNDLE}",
    )


def _authority(certificate: x509.Certificate) -> Authority:
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    subject = str(names[0].value) if names else certificate.subject.rfc4514_string()
    # It is printed among lines to paste, and a mirror may have put anything into it.
    name = "".join(letter if letter.isprintable() else "?" for letter in subject)
    try:
        signs = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        signs = False
    region = re.search(rf"(?<!\S){REGION}(?!\S)", name)
    return Authority(
        name=name,
        region=region[0] if region else None,
        expires_at=certificate.not_valid_after_utc.timestamp(),
        signs=signs,
        pem=certificate.public_bytes(Encoding.PEM),
    )


def report(bundle: Bundle, *, file: str | None) -> str:
    """Return what a person wants to know of *bundle*, in lines.

    Args:
        bundle: What was inspected.
        file: Where it is now; `None` when it is in no file.
    """
    lines = [f"{len(bundle.kept)} certificate authorities from {bundle.url}"]
    if bundle.regions:
        lines.append(f"of {len(bundle.regions)} regions: {' '.join(bundle.regions)}")
    if bundle.expired:
        gone = ", ".join(f"{item.name} ({_day(item.expires_at)})" for item in bundle.expired)
        lines.append(f"without {len(bundle.expired)} that have expired: {gone}")
    first = min(bundle.kept, key=lambda item: item.expires_at)
    lines.append(f"the next to expire is {first.name} ({_day(first.expires_at)})")
    if file is not None:
        lines.append(f"export RDS_IAM_CA_FILE={shlex.quote(file)}")
    return "\n".join(lines)


def _day(instant: float) -> str:
    return datetime.fromtimestamp(instant, UTC).date().isoformat()
