"""What is in a bundle of certificate authorities, what of it is good, and where AWS has it."""

from __future__ import annotations

import json
import os
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from rds_iam_async import ConfigurationError, RdsIamError
from rds_iam_async._ca_bundle import inspected, report, url_of
from rds_iam_async._download import write_whole

KEY = ec.generate_private_key(ec.SECP256R1())
LONG_AGO = datetime(2010, 1, 1, tzinfo=UTC)
FAR_OFF = datetime(2121, 5, 22, tzinfo=UTC)
NOW = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
MIRROR = "https://mirror.test/bundle.pem"


def certificate(
    name: str | None, *, until: datetime = FAR_OFF, authority: bool | None = True
) -> bytes:
    """Return a self-signed certificate in PEM; `authority=None` leaves open what it is."""
    kinds = [x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Amazon Web Services, Inc.")]
    if name is not None:
        kinds.append(x509.NameAttribute(x509.NameOID.COMMON_NAME, name))
    subject = x509.Name(kinds)
    builder = (
        x509.CertificateBuilder(subject, subject, KEY.public_key(), x509.random_serial_number())
        .not_valid_before(LONG_AGO)
        .not_valid_after(until)
    )
    if authority is not None:
        limits = x509.BasicConstraints(ca=authority, path_length=None)
        builder = builder.add_extension(limits, critical=True)
    return builder.sign(KEY, SHA256()).public_bytes(Encoding.PEM)


IRELAND = certificate("Amazon RDS eu-west-1 Root CA RSA2048 G1")
IRELAND_ECC = certificate("Amazon RDS eu-west-1 Root CA ECC384 G1")
GOV_EAST = certificate("Amazon RDS us-gov-east-1 Root CA RSA2048 G1")
EXPIRED_AT = datetime(2024, 8, 22, 17, 8, 50, tzinfo=UTC)
EXPIRED = certificate("Amazon RDS Root 2019 CA", until=EXPIRED_AT)


def test_the_expired_are_dropped_and_the_rest_kept_as_they_were() -> None:
    """A frozen copy of 2022 held 118, of which 28 had expired."""
    bundle = inspected(IRELAND + EXPIRED + GOV_EAST, url=MIRROR, now=NOW)
    assert bundle.pem == IRELAND + GOV_EAST
    assert [item.name for item in bundle.expired] == ["Amazon RDS Root 2019 CA"]
    assert ssl.create_default_context(cadata=bundle.pem.decode()).cert_store_stats()["x509_ca"] >= 2


@pytest.mark.parametrize(("after", "kept"), [(0, 2), (1, 1)])
def test_a_certificate_is_good_to_its_last_second(after: int, kept: int) -> None:
    """RFC 5280 4.1.2.5: from notBefore through notAfter, inclusive."""
    bundle = inspected(EXPIRED + IRELAND, url=MIRROR, now=EXPIRED_AT.timestamp() + after)
    assert len(bundle.kept) == kept


def test_the_regions_are_read_from_the_names() -> None:
    """Each once, in order; a root of all regions adds none."""
    everywhere = certificate("Amazon Root CA 1")
    nameless = certificate(None)
    tricky = certificate("Amazon RDS Beta-1 not-a-region-12x Root/eu-west-9 CA")
    data = GOV_EAST + IRELAND_ECC + IRELAND + everywhere + nameless + tricky
    bundle = inspected(data, url=MIRROR, now=NOW)
    assert bundle.regions == ("eu-west-1", "us-gov-east-1")
    assert bundle.kept[4].name == "O=Amazon Web Services\\, Inc."


def test_text_between_the_certificates_is_not_kept() -> None:
    """Some mirrors add comments, and some readers of PEM stumble over them."""
    data = b"# Ireland\r\n" + IRELAND.replace(b"\n", b"\r\n") + b"\nSubject: x\n" + IRELAND_ECC
    assert inspected(data, url=MIRROR, now=NOW).pem == IRELAND + IRELAND_ECC


PRIVATE_KEY = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no certificate in PEM, and begins ''"),
        (b"<!DOCTYPE html><html>Sign in to the WiFi", "begins '<!DOCTYPE html>"),
        (b"\xff\xfe\x00garbage", "no certificate in PEM"),
        (IRELAND[:200], "does not parse|cut short"),
        (IRELAND + GOV_EAST[:200], "does not parse|cut short"),
        (IRELAND.replace(b"M", b"!", 1), "does not parse"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "does not parse"),
        (IRELAND + certificate("db.test", authority=False), "'db.test' in it is no certificate au"),
        (IRELAND + certificate("db.test", authority=None), "'db.test' in it is no certificate au"),
        (IRELAND + PRIVATE_KEY, "private key"),
        (PRIVATE_KEY.replace(b"PRIVATE", b"RSA PRIVATE") + IRELAND, "private key"),
        (EXPIRED + EXPIRED, "all 2 certificates in it have expired"),
    ],
)
def test_what_is_no_bundle_is_refused(data: bytes, why: str) -> None:
    """The message says where it came from and what is wrong; a key in it is not shown."""
    with pytest.raises(RdsIamError, match=why) as caught:
        inspected(data, url=MIRROR, now=NOW)
    assert MIRROR in str(caught.value)
    assert "MIG" not in str(caught.value)


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A place where it is tomorrow already."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "XXX-14")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("far_east")
def test_the_report_says_what_there_is_and_what_to_do_with_it() -> None:
    """For a person; days are UTC's, as in the certificate, and the path is quoted for a shell."""
    bundle = inspected(IRELAND + GOV_EAST + EXPIRED, url=MIRROR, now=NOW)
    assert report(bundle, file="/etc/my cas/rds.pem").splitlines() == [
        f"2 certificate authorities from {MIRROR}",
        "of 2 regions: eu-west-1 us-gov-east-1",
        "without 1 that have expired: Amazon RDS Root 2019 CA (2024-08-22)",
        "the next to expire is Amazon RDS eu-west-1 Root CA RSA2048 G1 (2121-05-22)",
        "export RDS_IAM_CA_FILE='/etc/my cas/rds.pem'",
    ]


def test_the_report_says_nothing_of_what_there_is_not() -> None:
    """No regions, none expired, no file."""
    bundle = inspected(certificate("Our CA"), url=MIRROR, now=NOW)
    assert report(bundle, file=None).splitlines() == [
        f"1 certificate authorities from {MIRROR}",
        "the next to expire is Our CA (2121-05-22)",
    ]


def test_the_figures_are_plain_data() -> None:
    """JSON takes them."""
    bundle = inspected(IRELAND + EXPIRED, url=MIRROR, now=NOW)
    assert json.loads(json.dumps(bundle.to_dict())) == {
        "url": MIRROR,
        "authorities": 1,
        "regions": ["eu-west-1"],
        "first_expires_at": FAR_OFF.timestamp(),
        "expired": [
            {"name": "Amazon RDS Root 2019 CA", "expires_at": EXPIRED_AT.timestamp()},
        ],
    }


COMMERCIAL = "https://truststore.pki.rds.amazonaws.com"
GOVCLOUD = "https://truststore.pki.us-gov-west-1.rds.amazonaws.com"
CHINA = "https://rds-truststore.s3.cn-north-1.amazonaws.com.cn"


@pytest.mark.parametrize(
    ("asked", "url"),
    [
        ({}, f"{COMMERCIAL}/global/global-bundle.pem"),
        ({"partition": "aws"}, f"{COMMERCIAL}/global/global-bundle.pem"),
        ({"partition": "aws-us-gov"}, f"{GOVCLOUD}/global/global-bundle.pem"),
        ({"partition": "aws-cn"}, f"{CHINA}/global/global-bundle.pem"),
        ({"region": "eu-west-1"}, f"{COMMERCIAL}/eu-west-1/eu-west-1-bundle.pem"),
        ({"region": "mx-central-1"}, f"{COMMERCIAL}/mx-central-1/mx-central-1-bundle.pem"),
        ({"region": "aq-south-1"}, f"{COMMERCIAL}/aq-south-1/aq-south-1-bundle.pem"),
        ({"region": "us-gov-east-1"}, f"{GOVCLOUD}/us-gov-east-1/us-gov-east-1-bundle.pem"),
        ({"region": "us-gov-west-1"}, f"{GOVCLOUD}/us-gov-west-1/us-gov-west-1-bundle.pem"),
        ({"region": "cn-north-1"}, f"{CHINA}/cn-north-1/cn-north-1-bundle.pem"),
        ({"region": "cn-northwest-1"}, f"{CHINA}/cn-northwest-1/cn-northwest-1-bundle.pem"),
    ],
)
def test_the_bundles_are_where_aws_documents_them(asked: dict[str, str], url: str) -> None:
    """UsingWithRDS.SSL, in English and in Chinese."""
    assert url_of(**asked) == url


@pytest.mark.parametrize(
    "asked",
    [
        {"region": "us-iso-east-1"},
        {"region": "eusc-de-east-1"},
        {"region": "../../etc"},
        {"region": "Ireland"},
        {"region": ""},
        {"partition": "aws-iso"},
        {"partition": "aws-nowhere"},
    ],
)
def test_a_bundle_at_no_known_place_is_an_error_of_the_call(asked: dict[str, str]) -> None:
    """It is not guessed."""
    with pytest.raises(ConfigurationError):
        url_of(**asked)


class TestWriting:
    """A reader finds the old file or the new one, never a part; and nothing is left lying."""

    def test_a_new_file_has_the_mode_of_any_other(self, tmp_path: Path) -> None:
        (tmp_path / "other").write_bytes(b"")
        write_whole(tmp_path / "ca.pem", IRELAND)
        assert (tmp_path / "ca.pem").read_bytes() == IRELAND
        assert (tmp_path / "ca.pem").stat().st_mode == (tmp_path / "other").stat().st_mode
        assert sorted(os.listdir(tmp_path)) == ["ca.pem", "other"]

    def test_a_reader_of_the_old_file_keeps_it(self, tmp_path: Path) -> None:
        path = tmp_path / "ca.pem"
        path.write_bytes(b"old")
        with path.open("rb") as reader:
            write_whole(path, b"new")
            assert (reader.read(), path.read_bytes()) == (b"old", b"new")

    def test_a_link_is_followed(self, tmp_path: Path) -> None:
        (tmp_path / "link").symlink_to(tmp_path / "ca.pem")
        write_whole(tmp_path / "link", IRELAND)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "ca.pem").read_bytes() == IRELAND

    def test_a_failure_leaves_what_was_there(self, tmp_path: Path) -> None:
        (tmp_path / "ca.pem").mkdir()
        with pytest.raises(RdsIamError, match=r"ca\.pem cannot be written: Is a directory"):
            write_whole(tmp_path / "ca.pem", IRELAND)
        assert os.listdir(tmp_path) == ["ca.pem"]

    def test_a_directory_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(RdsIamError, match="cannot be written: No such file"):
            write_whole(tmp_path / "nowhere" / "ca.pem", IRELAND)
