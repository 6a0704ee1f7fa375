"""The files and variables by which the ordinary AWS chain finds the local AWS."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import sys
import time
from pathlib import Path

from .._token import Credentials
from . import _credential_process
from ._aws_documents import timestamp
from ._aws_endpoints import CONTAINER_PATH, POD_PATH, PROCESS_PATH, ROLE
from ._passes import Passes

_ROLE_ARN = f"arn:aws:iam::123456789012:role/{ROLE}"
_START_URL = "https://local.awsapps.com/start"
_SSO_SESSION = "local"
_LOGIN_LIFETIME = 8 * 3600.0
_REGISTRATION_LIFETIME = 90 * 86400.0


class AwsHome:
    """The home directory of a user of the local AWS.

    Attributes:
        config: The AWS config file, a profile for each provider.
        credentials: The shared credentials file.
    """

    def __init__(self, directory: Path, *, port: int, region: str, passes: Passes) -> None:
        self._directory = directory
        self._port = port
        self._region = region
        self._passes = passes
        self._static = {"source": passes.source}
        self.config = directory / ".aws" / "config"
        self.credentials = directory / ".aws" / "credentials"
        self._sso_cache = directory / ".aws" / "sso" / "cache"
        self._pod_token = directory / "eks-pod-identity-token"
        self._web_identity = directory / "web-identity-token"
        self._sso_cache.mkdir(parents=True)
        _write(self._pod_token, passes.pod)
        _write(self._web_identity, passes.web_identity)
        _write(self.config, self._profiles())
        self.write_login()

    def write_static(self, profile: str, keys: Credentials) -> None:
        """Let *profile* of the shared credentials file have *keys*, without their end."""
        self._static[profile] = keys
        _write(self.credentials, "".join(_section(*item) for item in self._static.items()))

    def write_login(self) -> None:
        """Write what `aws sso login` leaves behind.

        The legacy token is good for a working day. That of the SSO session has run out, as on
        the morning after: the SDK has to renew it first.
        """
        now = time.time()
        about = {"startUrl": _START_URL, "region": self._region}
        legacy = {"accessToken": self._passes.sso, "expiresAt": timestamp(now + _LOGIN_LIFETIME)}
        session = {
            "accessToken": self._passes.sso_session[-1],
            "expiresAt": timestamp(now - 1),
            "refreshToken": self._passes.sso_refresh,
            "clientId": self._passes.client_id,
            "clientSecret": self._passes.client_secret,
            "registrationExpiresAt": timestamp(now + _REGISTRATION_LIFETIME),
        }
        for name, token in ((_START_URL, legacy), (_SSO_SESSION, session)):
            # `SSOTokenLoader._generate_cache_key` in botocore/utils.py
            key = hashlib.sha1(name.encode()).hexdigest()
            _write(self._sso_cache / f"{key}.json", json.dumps(about | token))

    def environment(self, provider: str) -> dict[str, str]:
        """Return the variables that make the chain use *provider*."""
        url = f"http://127.0.0.1:{self._port}"
        common = {
            # botocore prefers AWS_DEFAULT_PROFILE.
            "AWS_PROFILE": provider,
            "AWS_DEFAULT_PROFILE": provider,
            "AWS_CONFIG_FILE": str(self.config),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.credentials),
            "AWS_REGION": self._region,
            "AWS_DEFAULT_REGION": self._region,
            "AWS_ENDPOINT_URL_STS": url,
            "AWS_ENDPOINT_URL_SSO": url,
            "AWS_ENDPOINT_URL_SSO_OIDC": url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "BOTO_CONFIG": str(self._directory / "no-boto-config"),
            "NO_PROXY": _no_proxy(),
            "no_proxy": _no_proxy(),
        }
        return common | self._variables_of(provider, url)

    def _variables_of(self, provider: str, url: str) -> dict[str, str]:
        match provider:
            case "container":
                return {
                    "AWS_CONTAINER_CREDENTIALS_FULL_URI": url + CONTAINER_PATH,
                    "AWS_CONTAINER_AUTHORIZATION_TOKEN": self._passes.container,
                }
            case "pod-identity":
                return {
                    "AWS_CONTAINER_CREDENTIALS_FULL_URI": url + POD_PATH,
                    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(self._pod_token),
                }
            case "imds":
                return {
                    "AWS_EC2_METADATA_DISABLED": "false",
                    "AWS_EC2_METADATA_SERVICE_ENDPOINT": url,
                    # The SDK gives up after 1 s, which a busy machine may take.
                    "AWS_METADATA_SERVICE_TIMEOUT": "5",
                }
            case "web-identity":
                return {
                    "AWS_ROLE_ARN": _ROLE_ARN,
                    "AWS_ROLE_SESSION_NAME": "local",
                    "AWS_WEB_IDENTITY_TOKEN_FILE": str(self._web_identity),
                }
            case "sso" | "sso-session":
                return {"HOME": str(self._directory)}
            case _:
                return {}

    def _profiles(self) -> str:
        script = str(Path(_credential_process.__file__))
        process = [sys.executable, "-I", "-S", script, str(self._port), PROCESS_PATH]
        start = f"sso_start_url = {_START_URL}\nsso_region = {self._region}\n"
        role = f"sso_account_id = 123456789012\nsso_role_name = {ROLE}\n"
        assume = f"role_arn = {_ROLE_ARN}\nsource_profile = source\nrole_session_name = local\n"
        return (
            "[profile container]\n[profile pod-identity]\n[profile imds]\n[profile web-identity]\n"
            "[profile static]\n[profile static-session]\n"
            f"[profile assume-role]\n{assume}"
            f"[profile process]\ncredential_process = {shlex.join(process)}\n"
            f"[profile sso]\n{start}{role}"
            f"[profile sso-session]\nsso_session = {_SSO_SESSION}\n{role}"
            f"[sso-session {_SSO_SESSION}]\n{start}"
        )


def _section(profile: str, keys: Credentials) -> str:
    section = (
        f"[{profile}]\naws_access_key_id = {keys.access_key_id}\n"
        f"aws_secret_access_key = {keys.secret_access_key}\n"
    )
    if keys.session_token is not None:
        section += f"aws_session_token = {keys.session_token}\n"
    return section


def _no_proxy() -> str:
    already = os.environ.get("NO_PROXY") or os.environ.get("no_proxy")
    return f"{already},127.0.0.1" if already else "127.0.0.1"


def _write(path: Path, content: str) -> None:
    # At once, for somebody may be reading; private, as the SDKs' own files are.
    partial = path.with_name(f"{path.name}.partial")
    partial.touch(mode=0o600)
    partial.write_text(content)
    partial.replace(path)
