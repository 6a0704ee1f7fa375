"""AWS asked: the keys in hand, and what STS says of them and of the time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from .._credentials import SessionCredentials
from .._offload import in_thread
from .._quiet import quiet_sdk
from .._token import Credentials

_ANY_REGION = "us-east-1"
"""Where to ask who we are when no region is known: any STS of the partition knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """What signs.

    Attributes:
        credentials: The keys.
        provider: Where they came from, in botocore's words.
    """

    credentials: Credentials
    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """What STS made of a request signed by the keys.

    Attributes:
        arn: Who we are, when it said so.
        refusal: AWS's code for why not.
        silence: Why there was no answer at all.
        skew: Seconds by which AWS's clock is ahead of ours; `None` when nobody told.
    """

    arn: str | None = None
    refusal: str | None = None
    silence: str | None = None
    skew: float | None = None

    @property
    def account(self) -> str | None:
        """The AWS account, as it stands in the ARN."""
        return self.arn.split(":")[4] if self.arn else None


async def look_for_keys(session: Any) -> Keys:
    """Return what the AWS chain has.

    Raises:
        RdsIamError: As `SessionCredentials.snapshot`.
    """
    source = SessionCredentials(session)
    credentials = await source.snapshot()
    return Keys(credentials=credentials, provider=source.provider)


async def ask_who(
    credentials: Credentials, *, profile: str | None, region: str | None, timeout: float
) -> Caller:
    """Ask STS who signs with these keys: `GetCallerIdentity` needs no permission.

    Args:
        credentials: The keys.
        profile: Whose settings of endpoints and proxies count.
        region: Where to ask.
        timeout: The bound on connecting, and on the answer, in seconds.
    """
    return await in_thread(
        lambda: _ask(credentials, profile=profile, region=region, timeout=timeout),
        name="rds_iam_async-sts",
    )


def _ask(
    credentials: Credentials, *, profile: str | None, region: str | None, timeout: float
) -> Caller:
    with quiet_sdk() as quiet_what_was_imported:
        import botocore.session
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        quiet_what_was_imported()
        core = botocore.session.Session(profile=profile)
        client: Any = core.create_client(
            "sts",
            region_name=region or core.get_config_variable("region") or _ANY_REGION,
            aws_access_key_id=credentials.access_key_id,
            aws_secret_access_key=str(credentials.secret_access_key),
            aws_session_token=credentials.session_token and str(credentials.session_token),
            config=Config(
                connect_timeout=timeout, read_timeout=timeout, retries={"total_max_attempts": 1}
            ),
        )
        before = time.time()
        try:
            answer: dict[str, Any] = client.get_caller_identity()
        except ClientError as error:
            # Not its message: for some errors that is the request, session token and all.
            response: dict[str, Any] = dict(error.response)
            refusal = str(response.get("Error", {}).get("Code", "an error without a code"))
            return Caller(refusal=refusal, skew=_skew(response, before))
        except BotoCoreError as error:
            return Caller(silence=type(error).__name__)
        finally:
            client.close()
        return Caller(arn=str(answer["Arn"]), skew=_skew(answer, before))


def _skew(answer: dict[str, Any], before: float) -> float | None:
    """Return how far AWS's clock is ahead, to about a second: its Date has whole ones."""
    after = time.time()
    date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    if not date:
        return None
    try:
        theirs = parsedate_to_datetime(date).timestamp() + 0.5
    except ValueError:
        return None
    return theirs - (before + after) / 2
