"""The doors of the local AWS: which request belongs to which, and what each gives."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from .._token import Credentials
from . import _aws_documents as documents
from ._aws_documents import Denied
from ._aws_signature import signer_of
from ._http import Answer, Request
from ._passes import Passes

ROLE = "app"
ACCOUNT = "123456789012"
CONTAINER_PATH = "/v2/credentials/0f9f0bb4-local"
POD_PATH = "/v1/credentials"
PROCESS_PATH = "/process"
_IMDS_TOKEN_PATH = "/latest/api/token"
_IMDS_ROLE_PATH = "/latest/meta-data/iam/security-credentials/"


class Issuer(Protocol):
    """Whoever hands out the keys."""

    def current(self, *, at_most: float = math.inf) -> Credentials:
        """Return keys that live for *at_most* seconds."""
        ...

    def find(self, access_key_id: str) -> Credentials | None:
        """Return the pair of this id, if it was handed out."""
        ...

    def now(self) -> float:
        """Return what time it is on AWS's clock."""
        ...


@dataclass(frozen=True, slots=True)
class Door:
    """One thing that can be asked for.

    Attributes:
        kind: Its name in the log of calls.
        open: What it gives; raises `Denied` to who may not have it.
        error: How it says no.
    """

    kind: str
    open: Callable[[Request, Passes, Issuer], Answer]
    error: Callable[[Denied], Answer]


def door(request: Request, passes: Passes) -> Door:
    """Return the door that *request* knocks at."""
    if request.path == "/" and request.method == "POST":
        action = request.form.get("Action", "")
        return _STS.get(action, Door("unknown", _unknown_action, documents.sts_error))
    if request.path == "/federation/credentials":
        bearer = request.headers.get("x-amz-sso_bearer_token")
        return _SSO_SESSION if bearer in passes.sso_session else _SSO
    if request.path == _IMDS_ROLE_PATH + ROLE:
        return Door("imds", _imds, documents.imds_error)
    return _PATHS.get(request.path, _NOWHERE)


def _container(request: Request, passes: Passes, issuer: Issuer) -> Answer:
    if request.headers.get("authorization") != passes.container:
        raise Denied(401, "AccessDeniedException", "wrong authorization token")
    role = {"RoleArn": f"arn:aws:iam::{ACCOUNT}:role/{ROLE}"}
    return documents.json_answer(role | documents.agent_keys(issuer.current()))


def _pod_identity(request: Request, passes: Passes, issuer: Issuer) -> Answer:
    if request.headers.get("authorization") != passes.pod:
        raise Denied(401, "AccessDeniedException", "wrong service account token")
    account = {"AccountId": ACCOUNT}
    return documents.json_answer(documents.agent_keys(issuer.current()) | account)


def _imds_token(request: Request, passes: Passes, issuer: Issuer) -> Answer:
    life = request.headers.get("x-aws-ec2-metadata-token-ttl-seconds")
    if request.method != "PUT" or life is None:
        raise Denied(400, "Bad Request", "PUT, with the token's life")
    return documents.text(passes.imds, headers={"X-Aws-Ec2-Metadata-Token-Ttl-Seconds": life})


def _imds_role(request: Request, passes: Passes, issuer: Issuer) -> Answer:
    _check_imds(request, passes)
    return documents.text(ROLE)


def _imds(request: Request, passes: Passes, issuer: Issuer) -> Answer:
    _check_imds(request, passes)
    about = {
        "Code": "Success",
        "LastUpdated": documents.timestamp(time.time()),
        "Type": "AWS-HMAC",
    }
    return documents.text(json.dumps(about | documents.agent_keys(issuer.current())))


def _check_imds(request: Request, passes: Passes) -> None:
    # IMDSv1, which asks without a token, is off.
    if request.headers.get("x-aws-ec2-metadata-token") != passes.imds:
        raise Denied(401, "Unauthorized", "no session token")


def _assume_role(request: Request, passes: Passes, issuer: Issuer) -> Answer:
    if f"Credential={passes.source.access_key_id}/" not in request.headers.get("authorization", ""):
        raise Denied(403, "InvalidClientTokenId", "The security token included is invalid")
    return _role_session(request, issuer, more="")


def _web_identity(request: Request, passes: Passes, issuer: Issuer) -> Answer:
    if request.form.get("WebIdentityToken") != passes.web_identity:
        raise Denied(400, "InvalidIdentityToken", "The token is not the service account's")
    about = (
        "<SubjectFromWebIdentityToken>system:serviceaccount:default:app"
        "</SubjectFromWebIdentityToken><Audience>sts.amazonaws.com</Audience>"
        "<Provider>https://oidc.eks.eu-west-1.amazonaws.com/id/LOCAL</Provider>"
    )
    return _role_session(request, issuer, more=about)


def _role_session(request: Request, issuer: Issuer, *, more: str) -> Answer:
    said = request.form
    for name in ("RoleArn", "RoleSessionName"):
        if name not in said:
            raise Denied(400, "ValidationError", f"{name} is missing")
    keys = issuer.current(at_most=float(said.get("DurationSeconds", "inf")))
    arn, session = said["RoleArn"], said["RoleSessionName"]
    return documents.sts_keys(said["Action"], keys, role_arn=arn, session=session, more=more)


def _caller_identity(request: Request, passes: Passes, issuer: Issuer) -> Answer:
    keys = signer_of(request, find=lambda name: _find(name, passes, issuer), now=issuer.now())
    if keys.session_token is not None:
        arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/{ROLE}/local"
    else:
        arn = f"arn:aws:iam::{ACCOUNT}:user/{ROLE}"
    return documents.sts_identity(account=ACCOUNT, arn=arn)


def _find(access_key_id: str, passes: Passes, issuer: Issuer) -> Credentials | None:
    is_source = access_key_id == passes.source.access_key_id
    return passes.source if is_source else issuer.find(access_key_id)


def _unknown_action(request: Request, passes: Passes, issuer: Issuer) -> Answer:
    raise Denied(400, "InvalidAction", "Could not find this operation for version 2011-06-15")


def _sso(request: Request, passes: Passes, issuer: Issuer) -> Answer:
    bearer = request.headers.get("x-amz-sso_bearer_token")
    if bearer not in (passes.sso, *passes.sso_session):
        raise Denied(401, "UnauthorizedException", "Session token not found or invalid")
    if request.query.get("role_name") != ROLE or "account_id" not in request.query:
        raise Denied(403, "ForbiddenException", "No access")
    keys = issuer.current()
    role_credentials = {
        "accessKeyId": keys.access_key_id,
        "secretAccessKey": keys.secret_access_key,
        "sessionToken": keys.session_token,
        "expiration": int(1000 * (keys.expires_at or 0)),
    }
    return documents.json_answer({"roleCredentials": role_credentials})


def _sso_token(request: Request, passes: Passes, issuer: Issuer) -> Answer:
    said = json.loads(request.body)
    client = (passes.client_id, passes.client_secret)
    if (said.get("clientId"), said.get("clientSecret")) != client:
        raise Denied(401, "InvalidClientException", "Invalid client provided")
    if (said.get("grantType"), said.get("refreshToken")) != ("refresh_token", passes.sso_refresh):
        raise Denied(400, "InvalidGrantException", "Invalid grant provided")
    return documents.json_answer(
        {
            "accessToken": passes.renew(),
            "tokenType": "Bearer",
            "expiresIn": 3600,
            "refreshToken": passes.sso_refresh,
        }
    )


def _process(request: Request, passes: Passes, issuer: Issuer) -> Answer:
    keys = documents.agent_keys(issuer.current())
    return documents.json_answer({"Version": 1, "SessionToken": keys.pop("Token")} | keys)


def _nowhere(request: Request, passes: Passes, issuer: Issuer) -> Answer:
    raise Denied(404, "Not Found", f"{request.method} {request.path}")


_NOWHERE = Door("unknown", _nowhere, documents.imds_error)
_SSO = Door("sso", _sso, documents.sso_error)
_SSO_SESSION = Door("sso-session", _sso, documents.sso_error)
_STS = {
    "AssumeRole": Door("assume-role", _assume_role, documents.sts_error),
    "GetCallerIdentity": Door("caller-identity", _caller_identity, documents.sts_error),
    "AssumeRoleWithWebIdentity": Door("web-identity", _web_identity, documents.sts_error),
}
_PATHS = {
    CONTAINER_PATH: Door("container", _container, documents.agent_error),
    POD_PATH: Door("pod-identity", _pod_identity, documents.agent_error),
    _IMDS_TOKEN_PATH: Door("imds-token", _imds_token, documents.imds_error),
    _IMDS_ROLE_PATH: Door("imds-role", _imds_role, documents.imds_error),
    "/token": Door("sso-token", _sso_token, documents.oidc_error),
    PROCESS_PATH: Door("process", _process, documents.agent_error),
}
