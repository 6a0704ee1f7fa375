"""Each error of the AWS SDK has one word that a metric can carry, out of a small closed set."""

from __future__ import annotations

import pickle
from typing import get_args

import pytest
from botocore import exceptions as sdk
from botocore.parsers import ResponseParserError

from rds_iam_async import ConfigurationError, CredentialsError
from rds_iam_async._errors import Reason
from rds_iam_async._sdk_errors import translated


def answered(code: str) -> sdk.ClientError:
    return sdk.ClientError({"Error": {"Code": code, "Message": "no"}}, "AssumeRole")


URL = {"endpoint_url": "http://sts", "error": "no"}
RETRIEVED = "Error retrieving metadata: Received non 200 response %d from container metadata: x"
ERRORS: list[tuple[Exception, Reason]] = [
    (answered("AccessDenied"), "access_denied"),
    (answered("InvalidClientTokenId"), "access_denied"),
    (answered("ExpiredToken"), "expired"),
    (answered("ExpiredTokenException"), "expired"),
    (answered("Throttling"), "throttled"),
    (answered("TooManyRequestsException"), "throttled"),
    (answered("InternalFailure"), "server_error"),
    (answered("ServiceUnavailable"), "server_error"),
    (answered("SomethingNew"), "_OTHER"),
    (sdk.EndpointConnectionError(**URL), "unreachable"),
    (sdk.ConnectionClosedError(**URL), "unreachable"),
    (sdk.ProxyConnectionError(proxy_url="http://p", error="no"), "unreachable"),
    (sdk.ConnectTimeoutError(**URL), "timeout"),
    (sdk.ReadTimeoutError(**URL), "timeout"),
    (sdk.NoCredentialsError(), "no_credentials"),
    (sdk.PartialCredentialsError(provider="env", cred_var="x"), "no_credentials"),
    (sdk.ProfileNotFound(profile="x"), "configuration"),
    (sdk.ConfigParseError(path="/x"), "configuration"),
    (sdk.InvalidConfigError(error_msg="no"), "configuration"),
    (sdk.InfiniteLoopConfigError(source_profile="x", visited_profiles=["x"]), "configuration"),
    (FileNotFoundError(2, "No such file", "/x"), "configuration"),
    (PermissionError(13, "Permission denied", "/x"), "configuration"),
    (sdk.UnauthorizedSSOTokenError(), "expired"),
    (sdk.SSOTokenLoadError(profile_name="x", error_msg="no"), "expired"),
    (sdk.TokenRetrievalError(provider="sso", error_msg="no"), "expired"),
    (ResponseParserError("no"), "bad_answer"),
    (sdk.MetadataRetrievalError(error_msg=RETRIEVED % 403), "access_denied"),
    (sdk.MetadataRetrievalError(error_msg=RETRIEVED % 429), "throttled"),
    (sdk.MetadataRetrievalError(error_msg=RETRIEVED % 500), "server_error"),
    (sdk.MetadataRetrievalError(error_msg=RETRIEVED % 404), "bad_answer"),
    (sdk.MetadataRetrievalError(error_msg="Unable to parse JSON returned"), "bad_answer"),
    (ZeroDivisionError("a bug of theirs"), "_OTHER"),
]


@pytest.mark.parametrize(("error", "reason"), ERRORS, ids=lambda value: str(value)[:40])
def test_the_reason_is_one_of_few(error: Exception, reason: Reason) -> None:
    """By class and error code, never by what a message happens to quote."""
    assert translated(error).reason == reason
    assert reason in get_args(Reason)


@pytest.mark.parametrize(
    ("error", "said", "hint"),
    [
        (
            FileNotFoundError(2, "No such file or directory", "/var/run/secrets/token"),
            "no credentials from AWS: FileNotFoundError: No such file or directory: "
            "'/var/run/secrets/token'",
            "AWS_WEB_IDENTITY_TOKEN_FILE",
        ),
        (
            sdk.ConfigParseError(path="/etc/aws/config", error="near 'aws_secret_access_key x'"),
            "no credentials from AWS: ConfigParseError: Unable to parse config file: "
            "/etc/aws/config",
            "aws sts get-caller-identity",
        ),
        (
            sdk.InvalidConfigError(error_msg='The source_profile "q" does not exist.'),
            'no credentials from AWS: InvalidConfigError: The source_profile "q" does not exist.',
            "aws sts get-caller-identity",
        ),
        (
            sdk.CredentialRetrievalError(provider="custom-process", error_msg="wJalrXUtnFEMI"),
            "no credentials from AWS: CredentialRetrievalError: custom-process",
            "credential_process by hand",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_missing_is_named_and_nothing_that_it_holds(
    error: Exception, said: str, hint: str
) -> None:
    """An IRSA token that is not mounted is found by its path."""
    found = translated(error)
    assert found.args[0] == said
    assert hint in found.hint


def test_each_error_of_ours_has_a_reason_that_travels() -> None:
    """Also between processes."""
    error = CredentialsError("late", reason="timeout")
    assert pickle.loads(pickle.dumps(error)).reason == "timeout"
    assert CredentialsError("no").reason == "_OTHER"
    assert ConfigurationError("no").reason == "configuration"
