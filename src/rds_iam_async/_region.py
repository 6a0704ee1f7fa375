"""What a host name says about RDS: the region, and whether RDS gives out such a name at all."""

from __future__ import annotations

import functools
import importlib.util
import ipaddress
import json
import re
from pathlib import Path
from typing import NamedTuple

REGION = r"[a-z]{2,}(?:-[a-z]+)+-\d+"
"""How AWS spells regions: `eu-west-1`, `us-gov-east-1`, `eusc-de-east-1`."""

# <name>.<hash>; clusters, proxies and shard groups have their kind before the hash (cluster-,
# cluster-ro-, cluster-custom-, proxy-, shardgrp-), a proxy's further endpoints a word more.
# Sources: Aurora.Overview.Endpoints, rds-proxy-endpoints; rds-fips is in AWS's own drivers only.
_NAME = r"[^.]+\.(?:endpoint\.proxy-)?[^.]+"
_RDS = r"rds(?:-fips)?"
_FORMS = tuple(
    re.compile(rf"{_NAME}\.{place}\.(?P<suffix>.+)")
    for place in (
        rf"(?P<region>{REGION})\.{_RDS}",  # everywhere
        rf"{_RDS}\.(?P<region>{REGION})",  # China, and the isolated partitions at times
    )
)
_OF_OTHERS = re.compile(r"[^.]+\.(?:endpoint\.)?(?:proxy|shardgrp)-")
_GLOBAL = re.compile(rf"[^.]+\.global-[^.]+\.global\.{_RDS}\.(?P<suffix>.+)")


def region_of(host: str) -> str | None:
    """Return the region that an RDS host name says, or `None` when it says none.

    Args:
        host: As given: any case, with or without a trailing dot.
    """
    name = _spelt_plainly(host)
    for form in _FORMS:
        found = form.fullmatch(name)
        if found and found["suffix"] in _suffixes_for(found["region"]):
            return found["region"]
    return None


def partition_of(region: str) -> str | None:
    """Return the partition that has *region*, such as `aws-cn`; `None` when none claims it."""
    return next((item.name for item in _partitions() if item.region.match(region)), None)


def is_global_writer(host: str) -> bool:
    """Tell whether this is a Global Database's writer endpoint, whose name says no region.

    Source:
        https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora-global-database-connecting.html
    """
    found = _GLOBAL.fullmatch(_spelt_plainly(host))
    return found is not None and any(found["suffix"] in known.suffixes for known in _partitions())


def has_rds_certificate(host: str) -> bool:
    """Tell whether RDS's own authorities certify *host*: whether it is an instance or a cluster.

    RDS Proxy has public certificates; which ones a shard group has is not documented. (Aurora
    Serverless v1 had public ones under a cluster's name, and no IAM authentication.)

    Source:
        https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/UsingWithRDS.SSL-certificate-rotation.html
    """
    return region_of(host) is not None and _OF_OTHERS.match(_spelt_plainly(host)) is None


def doubt_about(host: str) -> str | None:
    """Say what *host* is when RDS would refuse tokens signed for it; `None` for an RDS name.

    Source:
        "You can't use a custom Route 53 DNS record instead of the DB instance endpoint to
        generate the authentication token": UsingWithRDS.IAMDBAuth.Connecting.
    """
    if region_of(host) or is_global_writer(host):
        return None
    name = _spelt_plainly(host)
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        loopback = name == "localhost" or name.endswith(".localhost")
        return "a loopback name" if loopback else "no name that RDS gives out"
    return "a loopback address" if address.is_loopback else "an IP address"


class _Partition(NamedTuple):
    name: str
    region: re.Pattern[str]
    suffixes: frozenset[str]


@functools.cache
def _partitions() -> tuple[_Partition, ...]:
    """Return botocore's own list, without importing botocore, which takes 80 to 180 ms.

    Empty when there is none: then no name says a region, and the caller is told to pass it.
    """
    spec = importlib.util.find_spec("botocore")
    for folder in (spec and spec.submodule_search_locations) or ():
        try:
            listed = json.loads(Path(folder, "data", "partitions.json").read_bytes())
        except OSError:
            continue
        return tuple(
            _Partition(
                item["id"],
                re.compile(item["regionRegex"]),
                frozenset((item["outputs"]["dnsSuffix"], item["outputs"]["dualStackDnsSuffix"])),
            )
            for item in listed["partitions"]
        )
    return ()


def _suffixes_for(region: str) -> frozenset[str]:
    known = _partitions()
    # A region that no partition claims is newer than this botocore: any suffix may be its own.
    claiming = [item for item in known if item.region.match(region)] or known
    return frozenset[str]().union(*(item.suffixes for item in claiming))


def _spelt_plainly(host: str) -> str:
    return host.lower().removesuffix(".")
