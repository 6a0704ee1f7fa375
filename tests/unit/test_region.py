"""Host to region, for the names that RDS gives out; and what a host is that RDS does not."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis.strategies import booleans, composite, from_regex, sampled_from

from rds_iam_async._region import doubt_about, has_rds_certificate, is_global_writer, region_of

# Spelt as AWS documents them: UserGuide CHAP_CommonTasks.Connect, rds-proxy-endpoints;
# AuroraUserGuide Aurora.Overview.Endpoints, limitless-shard; docs.amazonaws.cn the same pages
# and endpoints-Beijing, endpoints-Ningxia; the isolated partitions as AWS's own drivers do.
NAMES = [
    # Instances, in the commercial partition
    ("mydb.123456789012.us-east-1.rds.amazonaws.com", "us-east-1"),
    ("mydb.abc123xyz.us-east-2.rds.amazonaws.com", "us-east-2"),
    ("mydb.abc123xyz.us-west-1.rds.amazonaws.com", "us-west-1"),
    ("mydb.abc123xyz.us-west-2.rds.amazonaws.com", "us-west-2"),
    ("mydb.abc123xyz.af-south-1.rds.amazonaws.com", "af-south-1"),
    ("mydb.abc123xyz.ap-east-1.rds.amazonaws.com", "ap-east-1"),
    ("mydb.abc123xyz.ap-northeast-3.rds.amazonaws.com", "ap-northeast-3"),
    ("mydb.abc123xyz.ap-south-2.rds.amazonaws.com", "ap-south-2"),
    ("mydb.abc123xyz.ap-southeast-5.rds.amazonaws.com", "ap-southeast-5"),
    ("mydb.abc123xyz.ca-central-1.rds.amazonaws.com", "ca-central-1"),
    ("mydb.abc123xyz.ca-west-1.rds.amazonaws.com", "ca-west-1"),
    ("mydb.abc123xyz.eu-central-2.rds.amazonaws.com", "eu-central-2"),
    ("mydb.abc123xyz.eu-west-1.rds.amazonaws.com", "eu-west-1"),
    ("mydb.abc123xyz.il-central-1.rds.amazonaws.com", "il-central-1"),
    ("mydb.abc123xyz.me-south-1.rds.amazonaws.com", "me-south-1"),
    ("mydb.abc123xyz.mx-central-1.rds.amazonaws.com", "mx-central-1"),
    ("mydb.abc123xyz.sa-east-1.rds.amazonaws.com", "sa-east-1"),
    ("mydb-green-1a2b3c.abc123xyz.eu-west-1.rds.amazonaws.com", "eu-west-1"),
    ("mydb-old1.abc123xyz.eu-west-1.rds.amazonaws.com", "eu-west-1"),
    ("mydb.abc123xyz.us-east-1.rds-fips.amazonaws.com", "us-east-1"),
    # Clusters: writer, reader, custom
    ("mycluster.cluster-c7tj4example.us-east-1.rds.amazonaws.com", "us-east-1"),
    ("mycluster.cluster-ro-c7tj4example.us-east-1.rds.amazonaws.com", "us-east-1"),
    ("myendpoint.cluster-custom-c7tj4example.us-east-1.rds.amazonaws.com", "us-east-1"),
    ("mydbinstance.c7tj4example.us-east-1.rds.amazonaws.com", "us-east-1"),
    ("mycluster.cluster-c7tj4example.ap-southeast-7.rds.amazonaws.com", "ap-southeast-7"),
    ("mycluster.cluster-ro-c7tj4example.eu-south-2.rds.amazonaws.com", "eu-south-2"),
    ("multi-az.cluster-c7tj4example.eu-north-1.rds.amazonaws.com", "eu-north-1"),
    # Proxies, and their endpoints in other VPCs
    ("the-proxy.proxy-demo.us-east-1.rds.amazonaws.com", "us-east-1"),
    ("the-proxy-reader.endpoint.proxy-demo.us-east-1.rds.amazonaws.com", "us-east-1"),
    ("other-vpc.endpoint.proxy-abc123.eu-central-1.rds.amazonaws.com", "eu-central-1"),
    ("the-proxy.proxy-abc123.us-gov-west-1.rds.amazonaws.com", "us-gov-west-1"),
    ("other-vpc.endpoint.proxy-abc123.us-gov-east-1.rds.amazonaws.com", "us-gov-east-1"),
    ("the-proxy.proxy-abc123.rds.cn-north-1.amazonaws.com.cn", "cn-north-1"),
    ("other-vpc.endpoint.proxy-abc123.rds.cn-north-1.amazonaws.com.cn", "cn-north-1"),
    ("other-vpc.endpoint.proxy-abc123.cn-north-1.rds.amazonaws.com.cn", "cn-north-1"),
    # Aurora Limitless: the cluster's endpoints, and the shard group's own
    ("my-limitless.cluster-ckifpdyyyxxx.us-east-1.rds.amazonaws.com", "us-east-1"),
    ("my-shards.shardgrp-ckifpdyyyxxx.us-east-1.rds.amazonaws.com", "us-east-1"),
    ("my-shards.shardgrp-ckifpdyyyxxx.us-gov-west-1.rds.amazonaws.com", "us-gov-west-1"),
    ("my-shards.shardgrp-ckifpdyyyxxx.rds.cn-north-1.amazonaws.com.cn", "cn-north-1"),
    ("my-shards.limitless-ckifpdyyyxxx.us-west-2.rds.amazonaws.com", "us-west-2"),
    # China, in both its forms
    ("mydb.abc123.rds.cn-north-1.amazonaws.com.cn", "cn-north-1"),
    ("mydb.abc123.rds.cn-northwest-1.amazonaws.com.cn", "cn-northwest-1"),
    ("mydb.abc123.cn-north-1.rds.amazonaws.com.cn", "cn-north-1"),
    ("mydb.abc123.cn-northwest-1.rds.amazonaws.com.cn", "cn-northwest-1"),
    ("mycluster.cluster-abc123.rds.cn-northwest-1.amazonaws.com.cn", "cn-northwest-1"),
    ("mycluster.cluster-ro-abc123.rds.cn-northwest-1.amazonaws.com.cn", "cn-northwest-1"),
    ("custom.cluster-custom-abc123.rds.cn-northwest-1.amazonaws.com.cn", "cn-northwest-1"),
    ("mycluster.cluster-ro-abc123.cn-north-1.rds.amazonaws.com.cn", "cn-north-1"),
    # GovCloud
    ("mydb.abc123.us-gov-west-1.rds.amazonaws.com", "us-gov-west-1"),
    ("mydb.abc123.us-gov-east-1.rds.amazonaws.com", "us-gov-east-1"),
    ("mycluster.cluster-abc123.us-gov-east-1.rds.amazonaws.com", "us-gov-east-1"),
    ("mydb.abc123.rds.us-gov-east-1.amazonaws.com", "us-gov-east-1"),
    # ISO, ISOB, ISOE, ISOF, the European Sovereign Cloud
    ("mydb.abc123.us-iso-east-1.rds.c2s.ic.gov", "us-iso-east-1"),
    ("mycluster.cluster-abc123.us-iso-west-1.rds.c2s.ic.gov", "us-iso-west-1"),
    ("mydb.abc123.rds.us-iso-east-1.c2s.ic.gov", "us-iso-east-1"),
    ("mydb.abc123.us-isob-east-1.rds.sc2s.sgov.gov", "us-isob-east-1"),
    ("the-proxy.proxy-abc123.us-isob-east-1.rds.sc2s.sgov.gov", "us-isob-east-1"),
    ("mydb.abc123.rds.us-isob-east-1.sc2s.sgov.gov", "us-isob-east-1"),
    ("mydb.abc123.eu-isoe-west-1.rds.cloud.adc-e.uk", "eu-isoe-west-1"),
    ("mycluster.cluster-ro-abc123.eu-isoe-west-1.rds.cloud.adc-e.uk", "eu-isoe-west-1"),
    ("mydb.abc123.us-isof-south-1.rds.csp.hci.ic.gov", "us-isof-south-1"),
    ("mydb.abc123.us-isof-east-1.rds.csp.hci.ic.gov", "us-isof-east-1"),
    ("mydb.abc123.eusc-de-east-1.rds.amazonaws.eu", "eusc-de-east-1"),
    ("mycluster.cluster-abc123.eusc-de-east-1.rds.amazonaws.eu", "eusc-de-east-1"),
    # As people spell them
    ("MyDB.ABC123XYZ.EU-West-1.RDS.AmazonAWS.com", "eu-west-1"),
    ("mydb.abc123xyz.eu-west-1.rds.amazonaws.com.", "eu-west-1"),
    ("MYDB.ABC123.RDS.CN-NORTH-1.AMAZONAWS.COM.CN.", "cn-north-1"),
    # A region of a continent that no botocore has heard of yet
    ("mydb.abc123.aq-south-1.rds.amazonaws.com", "aq-south-1"),
]


@pytest.mark.parametrize(("host", "region"), NAMES)
def test_the_region_stands_in_the_name(host: str, region: str) -> None:
    """For every kind of endpoint, in every partition; nothing is doubtful about such a host."""
    assert region_of(host) == region
    assert doubt_about(host) is None
    assert not is_global_writer(host)


@pytest.mark.parametrize(
    "host",
    [
        "mydb.eu-west-1.rds.amazonaws.com",
        "rds.eu-west-1.amazonaws.com",
        "mydb.abc.eu-west-1.rds.amazonaws.com.evil.test",
        "mydb.abc.eu-west-1.rds.amazonaws.com..",
        "mydb..eu-west-1.rds.amazonaws.com",
        "mydb.abc.def.eu-west-1.rds.amazonaws.com",
        "mydb.endpoint.abc.eu-west-1.rds.amazonaws.com",
        "mydb.abc.eu-west-1.redshift.amazonaws.com",
        "mydb.abc.eu-west-1.rdsx.amazonaws.com",
        "mydb.abc.eu-west.rds.amazonaws.com",
        "mydb.abc.global.rds.amazonaws.com",
        "mydb.abc.rds.rds.amazonaws.com",
        "mydb.abc.eu-west-1.rds.amazonaws.com.cn",
        "mydb.abc.cn-north-1.rds.amazonaws.com",
        "mydb.abc.us-iso-east-1.rds.amazonaws.com",
        "mydb.abc.aq-south-1.rds.example.com",
        "vpce-0a1b.rds.eu-west-1.vpce.amazonaws.com",
        "my-nlb-0a1b.elb.eu-west-1.amazonaws.com",
        "db.example.com",
        "",
    ],
)
def test_other_names_say_no_region(host: str) -> None:
    """Neither near misses nor a region under another partition's suffix."""
    assert region_of(host) is None
    assert doubt_about(host) == "no name that RDS gives out"


@pytest.mark.parametrize(
    ("host", "made_by_rds"),
    [
        ("mydb.c0ffee000000.eu-west-1.rds.amazonaws.com", True),
        ("MyDB.C0ffee000000.EU-west-1.RDS.amazonaws.com.", True),
        ("mydb.cluster-ro-c0ffee000000.eu-west-1.rds.amazonaws.com", True),
        ("mydb.cluster-c0ffee000000.rds.cn-north-1.amazonaws.com.cn", True),
        ("proxy-of-mine.c0ffee000000.eu-west-1.rds.amazonaws.com", True),
        ("mydb.proxy-c0ffee000000.eu-west-1.rds.amazonaws.com", False),
        ("reader.endpoint.proxy-c0ffee000000.eu-west-1.rds.amazonaws.com", False),
        ("MyDB.Proxy-C0ffee000000.eu-west-1.rds.amazonaws.com", False),
        ("mydb.shardgrp-c0ffee000000.eu-west-1.rds.amazonaws.com", False),
        ("mydb.c0ffee000000.eu-west-1.rds.example.com", False),
        ("db.example.com", False),
        ("localhost", False),
    ],
)
def test_rds_makes_the_certificates_of_instances_and_clusters(host: str, made_by_rds: bool) -> None:
    """Those of RDS Proxy are public; only where it is certain are public roots left out."""
    assert has_rds_certificate(host) is made_by_rds


@pytest.mark.parametrize(
    "host",
    [
        "my-global.global-abc123xyz.global.rds.amazonaws.com",
        "My-Global.Global-ABC123XYZ.global.rds.amazonaws.com.",
        "my-global.global-abc123xyz.global.rds.amazonaws.com.cn",
    ],
)
def test_the_writer_of_a_global_database_has_no_region_in_its_name(host: str) -> None:
    """The word "global" is where the others have it; but it is a name that RDS gives out."""
    assert region_of(host) is None
    assert is_global_writer(host)
    assert doubt_about(host) is None


@pytest.mark.parametrize(
    ("host", "doubt"),
    [
        ("localhost", "a loopback name"),
        ("LocalHost.", "a loopback name"),
        ("db.localhost", "a loopback name"),
        ("127.0.0.1", "a loopback address"),
        ("127.8.8.8", "a loopback address"),
        ("::1", "a loopback address"),
        ("10.0.0.5", "an IP address"),
        ("2001:db8::1", "an IP address"),
        ("my-global.global-abc.global.rds.example.com", "no name that RDS gives out"),
        ("my-global.abc.global.rds.amazonaws.com", "no name that RDS gives out"),
        ("db.internal", "no name that RDS gives out"),
        ("notlocalhost", "no name that RDS gives out"),
    ],
)
def test_a_host_that_rds_gives_to_nobody_is_called_what_it_is(host: str, doubt: str) -> None:
    """A token that is signed for it is refused by RDS."""
    assert doubt_about(host) == doubt


PLACES = [
    (region, suffix)
    for partition in json.loads((files("botocore") / "data/partitions.json").read_bytes())[
        "partitions"
    ]
    for region in partition["regions"]
    if not region.endswith("-global")
    for suffix in (partition["outputs"]["dnsSuffix"], partition["outputs"]["dualStackDnsSuffix"])
]
KINDS = ["", "cluster-", "cluster-ro-", "cluster-custom-", "proxy-", "endpoint.proxy-", "shardgrp-"]


def test_the_property_below_is_about_all_partitions() -> None:
    """Eight of them in botocore 1.40, over forty regions."""
    regions = {region for region, _ in PLACES}
    assert len(regions) > 40
    assert {region.rpartition("-")[0].rpartition("-")[0] for region in regions} >= {
        *("af", "ap", "ca", "cn", "eu", "eu-isoe", "eusc-de", "il", "me", "mx", "sa", "us"),
        *("us-gov", "us-iso", "us-isob", "us-isof"),
    }


@composite
def names(draw) -> tuple[str, str]:  # type: ignore[no-untyped-def]
    name = draw(from_regex(r"[a-z][a-z0-9]{0,9}(-[a-z0-9]{1,9}){0,3}", fullmatch=True))
    account = draw(from_regex(r"[a-z0-9]{3,12}", fullmatch=True))
    region, suffix = draw(sampled_from(PLACES))
    place = draw(sampled_from([f"{region}.rds", f"rds.{region}"]))
    host = f"{name}.{draw(sampled_from(KINDS))}{account}.{place}.{suffix}"
    host = host.upper() if draw(booleans()) else host
    return (host + "." if draw(booleans()) else host), region


@given(names())
def test_every_region_of_every_partition_is_read_back(named: tuple[str, str]) -> None:
    """Whatever the endpoint's kind, its case and its trailing dot."""
    host, region = named
    assert region_of(host) == region


def test_reading_it_does_not_import_botocore() -> None:
    """Its list is read as the file that it is: attach happens while an app starts."""
    code = (
        "import sys; from rds_iam_async._region import region_of\n"
        f"print(region_of({NAMES[0][0]!r}), 'botocore' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("us-east-1 False\n", "")


def test_without_botocore_no_name_says_a_region() -> None:
    """The caller is then told to pass it; nothing breaks."""
    code = (
        "import sys; sys.modules['botocore'] = None\n"  # how Python spells "not installed"
        "from rds_iam_async._region import region_of\n"
        f"print(region_of({NAMES[0][0]!r}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("None\n", "")
