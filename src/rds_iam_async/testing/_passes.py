"""What a caller has to show at the doors of the local AWS before he is given keys."""

from __future__ import annotations

import secrets

from .._token import Credentials


class Passes:
    """The secrets of one local AWS, drawn at random.

    Attributes:
        source: The long-term keys that may assume the role.
        container: What the ECS agent wants as Authorization.
        pod: The service account token that the EKS Pod Identity agent wants.
        imds: A session token of IMDSv2.
        web_identity: The service account token that STS exchanges (IRSA).
        sso: The access token of the legacy SSO login.
        sso_session: The access tokens of the SSO session, the latest one last.
        sso_refresh: What renews those.
        client_id: The SSO client as it was registered.
        client_secret: Its secret.
    """

    def __init__(self, source: Credentials) -> None:
        self.source = source
        self.container = _draw()
        self.pod = f"eyJhbGciOiJSUzI1NiJ9.{_draw()}.{_draw()}"
        self.imds = f"{_draw()}=="
        self.web_identity = f"eyJhbGciOiJSUzI1NiJ9.{_draw()}.{_draw()}"
        self.client_id = _draw()
        self.client_secret = _draw()
        self.log_in()

    def log_in(self) -> None:
        """Draw the tokens of a new SSO login; those of an earlier one are worth nothing."""
        self.sso = f"aoal{_draw()}"
        self.sso_session: tuple[str, ...] = (f"aoas{_draw()}",)
        self.sso_refresh = f"aorx{_draw()}"

    def renew(self) -> str:
        """Return one more access token for the SSO session; the earlier ones stay good."""
        token = f"aoas{_draw()}"
        self.sso_session = (*self.sso_session, token)
        return token


def _draw() -> str:
    return secrets.token_urlsafe(32)
