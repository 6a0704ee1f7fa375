"""Host name to AWS region, for the names that RDS itself gives out."""

from __future__ import annotations

import re

# <name>[.<kind>-]<account hash>.<region>.rds.<suffix>; China also has …rds.<region>.<suffix>
# (UsingWithRDS.IAMDBAuth.Connecting; "Amazon RDS endpoints" in the AWS General Reference).
_SUFFIX = (
    r"(?:amazonaws\.com|amazonaws\.com\.cn|amazonaws\.eu|c2s\.ic\.gov|sc2s\.sgov\.gov"
    r"|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)"
)
_REGION = r"(?P<region>[a-z]{2,}(?:-[a-z]+)+-\d+)"
_FORMS = (
    re.compile(rf"[^.]+\.[^.]+\.{_REGION}\.rds\.{_SUFFIX}"),
    re.compile(rf"[^.]+\.[^.]+\.rds\.{_REGION}\.{_SUFFIX}"),
)


def region_of(host: str) -> str | None:
    """Return the region that an RDS host name says, or `None` when it says none.

    Args:
        host: As given: any case, with or without a trailing dot. The writer endpoint
            of a Global Database has the word "global" where others have the region.
    """
    name = host.lower().removesuffix(".")
    for form in _FORMS:
        if found := form.fullmatch(name):
            return found["region"]
    return None
