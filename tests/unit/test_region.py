"""Host to region, for the names that RDS gives out."""

from __future__ import annotations

import pytest

from rds_iam_async._region import region_of


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("mydb.abc123.eu-west-1.rds.amazonaws.com", "eu-west-1"),
        ("MyDB.ABC123.EU-West-1.RDS.amazonaws.com.", "eu-west-1"),
        ("mycluster.cluster-abc.us-east-2.rds.amazonaws.com", "us-east-2"),
        ("mycluster.cluster-ro-abc.us-east-2.rds.amazonaws.com", "us-east-2"),
        ("custom.cluster-custom-abc.ap-southeast-2.rds.amazonaws.com", "ap-southeast-2"),
        ("proxy.proxy-abc.us-gov-west-1.rds.amazonaws.com", "us-gov-west-1"),
        ("mydb.abc.rds.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("mydb.abc.cn-northwest-1.rds.amazonaws.com.cn", "cn-northwest-1"),
        ("shards.shardgrp-abc.us-west-2.rds.amazonaws.com", "us-west-2"),
        ("writer.global-abc.global.rds.amazonaws.com", None),
        ("mydb.eu-west-1.rds.amazonaws.com", None),
        ("mydb.abc.eu-west-1.rds.amazonaws.com.evil.test", None),
        ("db.example.com", None),
        ("localhost", None),
        ("127.0.0.1", None),
        ("", None),
    ],
)
def test_the_region_stands_in_the_name_or_nowhere(host: str, region: str | None) -> None:
    """A Global Database's writer has the word "global" where the others have the region."""
    assert region_of(host) == region
