"""The IAM policy that lets somebody log in, to paste."""

from __future__ import annotations

from typing import Any

from .._region import partition_of

NO_ACCOUNT = "<account>"


def policy(*, user: str, region: str | None, account: str | None) -> dict[str, Any]:
    """Return the document.

    Args:
        user: The database user; IAM compares it to the letter.
        region: The database's; `None` leaves a place to fill in.
        account: The database's AWS account; likewise.

    Source:
        https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.IAMPolicy.html
    """
    partition = (partition_of(region) if region else None) or "aws"
    place = f"{region or '<region>'}:{account or NO_ACCOUNT}"
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": "rds-db:connect",
                "Resource": f"arn:{partition}:rds-db:{place}:dbuser:*/{user}",
            }
        ],
    }


NARROWER = (
    "the * stands for any database of the account; narrower is its resource id: DbiResourceId "
    "(db-…), DbClusterResourceId (cluster-…) or, of a proxy, the end of its ARN (prx-…)"
)
