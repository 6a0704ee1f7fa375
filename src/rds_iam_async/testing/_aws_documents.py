"""What AWS's answers look like: key pairs and errors, in the words of each service."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any
from xml.sax.saxutils import escape

from .._token import Credentials
from ._http import Answer

_STS = "https://sts.amazonaws.com/doc/2011-06-15/"


class Denied(Exception):
    """A request that is not granted.

    Attributes:
        status: Of HTTP.
        code: AWS's name for it.
        message: For a person.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def timestamp(at: float) -> str:
    """Return *at* as AWS writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def json_answer(document: dict[str, Any], **changes: Any) -> Answer:
    """Return a JSON document."""
    return Answer(body=json.dumps(document), content_type="application/json", **changes)


def text(body: str, **changes: Any) -> Answer:
    """Return plain text."""
    return Answer(body=body, content_type="text/plain", **changes)


def agent_keys(keys: Credentials) -> dict[str, str]:
    """Return keys as the agents on EC2, ECS and EKS spell them."""
    return {
        "AccessKeyId": keys.access_key_id,
        "SecretAccessKey": keys.secret_access_key,
        "Token": keys.session_token or "",
        "Expiration": timestamp(keys.expires_at or 0),
    }


def sts_keys(action: str, keys: Credentials, *, role_arn: str, session: str, more: str) -> Answer:
    """Return the keys of a role session.

    Args:
        action: What was called.
        keys: The keys.
        role_arn: The role.
        session: The session's name.
        more: Further elements of the result.

    Source:
        https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
    """
    assumed = role_arn.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/")
    result = (
        f"<Credentials><AccessKeyId>{keys.access_key_id}</AccessKeyId>"
        f"<SecretAccessKey>{keys.secret_access_key}</SecretAccessKey>"
        f"<SessionToken>{keys.session_token}</SessionToken>"
        f"<Expiration>{timestamp(keys.expires_at or 0)}</Expiration></Credentials>"
        f"<AssumedRoleUser><AssumedRoleId>AROALOCALLOCALLOCAL:{escape(session)}</AssumedRoleId>"
        f"<Arn>{escape(assumed)}/{escape(session)}</Arn></AssumedRoleUser>{more}"
    )
    return _xml(
        f'<{action}Response xmlns="{_STS}"><{action}Result>{result}</{action}Result>'
        f"<ResponseMetadata><RequestId>{uuid.uuid4()}</RequestId></ResponseMetadata>"
        f"</{action}Response>"
    )


def sts_identity(*, account: str, arn: str) -> Answer:
    """Return who signed a request.

    Source:
        https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html
    """
    return _xml(
        f'<GetCallerIdentityResponse xmlns="{_STS}"><GetCallerIdentityResult>'
        f"<Arn>{escape(arn)}</Arn><UserId>AROALOCALLOCALLOCAL</UserId>"
        f"<Account>{account}</Account></GetCallerIdentityResult>"
        f"<ResponseMetadata><RequestId>{uuid.uuid4()}</RequestId></ResponseMetadata>"
        "</GetCallerIdentityResponse>"
    )


def sts_error(denied: Denied) -> Answer:
    """Return an error of STS (the query protocol)."""
    blame = "Receiver" if denied.status >= 500 else "Sender"
    return _xml(
        f'<ErrorResponse xmlns="{_STS}"><Error><Type>{blame}</Type><Code>{denied.code}</Code>'
        f"<Message>{escape(denied.message)}</Message></Error>"
        f"<RequestId>{uuid.uuid4()}</RequestId></ErrorResponse>",
        status=denied.status,
    )


def sso_error(denied: Denied) -> Answer:
    """Return an error of the SSO portal (REST with JSON)."""
    return json_answer(
        {"message": denied.message, "__type": denied.code},
        status=denied.status,
        headers={"x-amzn-ErrorType": denied.code},
    )


def oidc_error(denied: Denied) -> Answer:
    """Return an error of SSO OIDC: OAuth's words in JSON."""
    return json_answer(
        {"error": "invalid_grant", "error_description": denied.message},
        status=denied.status,
        headers={"x-amzn-ErrorType": denied.code},
    )


def agent_error(denied: Denied) -> Answer:
    """Return an error of the agents of ECS and EKS."""
    document = {"code": denied.code, "message": denied.message, "HTTPErrorCode": denied.status}
    return json_answer(document, status=denied.status)


def imds_error(denied: Denied) -> Answer:
    """Return an error of IMDS, which says no more than its number."""
    return Answer(
        body=f"<html><body>{denied.status} - {denied.code}</body></html>",
        content_type="text/html",
        status=denied.status,
    )


def _xml(body: str, **changes: Any) -> Answer:
    return Answer(body=body, content_type="text/xml", **changes)
