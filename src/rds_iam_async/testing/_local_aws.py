"""The local AWS: every place where AWS's SDKs look for temporary keys, on one loopback port."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import ClassVar, Self, get_args

from .._errors import ConfigurationError
from .._token import Credentials
from ._aws import draw_key_pair, installed
from ._aws_home import AwsHome
from ._aws_server import AwsServer, Failure
from ._call_log import CallLog
from ._faults import seconds
from ._issuer import Issuer
from ._local_rds import LocalRds
from ._passes import Passes


class LocalAws:
    """What gives a process its AWS keys, with no AWS account: agents, STS, SSO, files.

    It speaks the protocols of AWS, checks what callers have to show, and hands out keys
    that the local RDS trusts until they end. `environment` makes the ordinary chain of
    any AWS SDK use it. It runs in a thread of its own. Several at once do not know of
    each other.

    All methods and attributes may be used from any thread; methods block.

    Attributes:
        PROVIDERS: What `environment` can imitate. `container` (ECS), `pod-identity`
            (EKS), `imds` (EC2, IMDSv2 only), `assume-role` (a profile with `role_arn` and
            `source_profile`), `web-identity` (IRSA), `sso` (legacy), `sso-session` (whose
            token has to be renewed first), `process` (`credential_process`), and the
            shared credentials file with a user's keys (`static`) or with those of a role
            session whose end nothing tells (`static-session`).
        calls: The requests that arrived.

    Example:
        >>> with LocalRds() as rds, LocalAws(rds) as aws, aws.installed("imds"):
        ...     ...  # boto3, aioboto3 and rds_iam_async believe that they run on EC2
    """

    PROVIDERS: ClassVar[tuple[str, ...]] = (
        "container",
        "pod-identity",
        "imds",
        "assume-role",
        "web-identity",
        "sso",
        "sso-session",
        "process",
        "static",
        "static-session",
    )

    def __init__(self, rds: LocalRds | None = None, *, lifetime: float = 3600.0) -> None:
        """Prepare; nothing runs before `start`.

        Args:
            rds: What is to trust the keys, and whose region is set; `None` means that
                nobody trusts them.
            lifetime: See the attribute of this name.

        Raises:
            ConfigurationError: When *lifetime* is no length of time.
        """
        self.calls: CallLog = CallLog()
        self._rds = rds
        self._issuer = Issuer(rds, lifetime=seconds("lifetime", lifetime))
        self._passes = Passes(draw_key_pair())
        self._server = AwsServer(self._passes, self._issuer, self.calls)
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._home: AwsHome | None = None

    def __repr__(self) -> str:
        return f"<LocalAws 127.0.0.1:{self._server.port} {'running' if self._home else 'stopped'}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it, in a few milliseconds; nothing happens when it runs already."""
        if self._home is not None:
            return
        try:
            self._server.start()
            self._make_home()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it and erase its files; nothing happens when it does not run."""
        self._home = None
        self._server.stop()
        if self._directory is not None:
            self._directory.cleanup()
            self._directory = None

    @property
    def lifetime(self) -> float:
        """Seconds that the keys handed out from now on live; they end at a whole second."""
        return self._issuer.lifetime

    @lifetime.setter
    def lifetime(self, value: float) -> None:
        self._issuer.lifetime = seconds("lifetime", value)

    @property
    def rotation(self) -> bool:
        """Whether each call gets new keys; otherwise all get the same until half their life.

        STS gives new ones each time. The agents on EC2, ECS and EKS serve what they hold.
        """
        return self._issuer.rotation

    @rotation.setter
    def rotation(self, value: bool) -> None:
        self._issuer.rotation = value

    @property
    def delay(self) -> float:
        """Seconds that pass before each answer."""
        return self._server.delay

    @delay.setter
    def delay(self, value: float) -> None:
        self._server.delay = seconds("delay", value)

    @property
    def failure(self) -> Failure | None:
        """What goes wrong with each call; `None` is nothing.

        `500` and `403` are errors as the service itself words them, `refused` is TCP's,
        `hang` never answers, `garbage` is an answer that cannot be parsed, `truncated` one
        that ends early, after the keys. The files on disk do not fail.
        """
        return self._server.failure

    @failure.setter
    def failure(self, value: Failure | None) -> None:
        if value is not None and value not in get_args(Failure):
            raise ConfigurationError(f"failure {value!r} is none of {get_args(Failure)}")
        self._server.failure = value

    @property
    def issued(self) -> tuple[Credentials, ...]:
        """The latest keys handed out, oldest first, those in the static profiles among them."""
        return self._issuer.issued

    def revoke(self) -> None:
        """Revoke all role sessions issued so far, early: their keys sign nothing any more."""
        self._issuer.revoke()

    def write_static(self, provider: str = "static") -> Credentials:
        """Write new keys to the shared credentials file, as a rotation does; return them.

        Args:
            provider: `static` or `static-session`. The end of a role session (after
                `lifetime`) does not stand in the file.
        """
        if provider not in ("static", "static-session"):
            raise ConfigurationError(f"provider {provider!r} has no keys in a file")
        session = provider == "static-session"
        keys = self._issuer.new_session() if session else self._issuer.long_term()
        self._up.write_static(provider, keys)
        return keys

    def log_in(self) -> None:
        """Write a new SSO login, as `aws sso login` does; the tokens before it are void."""
        self._passes.log_in()
        self._up.write_login()

    def log_out(self) -> None:
        """Void the SSO login, as its end does; the files stay."""
        self._passes.log_in()

    @property
    def config_file(self) -> Path:
        """The AWS config file, with a profile of each provider's name; change it as you like."""
        return self._up.config

    @property
    def credentials_file(self) -> Path:
        """The shared credentials file."""
        return self._up.credentials

    def environment(self, provider: str) -> dict[str, str]:
        """Return what makes the AWS chain of a process use *provider*, and no other.

        Set it in an environment without AWS variables of its own: some cannot be
        overruled, only left out. `sso` and `sso-session` set HOME, which botocore reads
        when it is imported: they work in a new process.

        Args:
            provider: One of `PROVIDERS`.
        """
        if provider not in self.PROVIDERS:
            raise ConfigurationError(f"provider {provider!r} is none of {self.PROVIDERS}")
        ca_file = {} if self._rds is None else {"RDS_IAM_CA_FILE": self._rds.ca_file}
        return self._up.environment(provider) | ca_file

    @contextlib.contextmanager
    def installed(self, provider: str) -> Generator[None]:
        """Give this process the `environment` of *provider*, and no other AWS variables."""
        with installed(self.environment(provider)):
            yield

    def _make_home(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="rds_iam_async-aws-")
        self._home = AwsHome(
            Path(self._directory.name),
            port=self._server.port,
            region="eu-west-1" if self._rds is None else self._rds.region,
            passes=self._passes,
        )
        self.write_static()
        self.write_static("static-session")

    @property
    def _up(self) -> AwsHome:
        if self._home is None:
            raise ConfigurationError(
                "this local AWS does not run", hint="use it in a with block, or call start()"
            )
        return self._home
