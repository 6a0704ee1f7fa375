"""The local RDS: a real database that wants IAM tokens, on this machine, in a second."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterable
from typing import Self
from urllib.parse import quote

from .._errors import ConfigurationError
from .._token import Credentials, Endpoint
from ._aws import draw_key_pair, environment, installed
from ._engines import SNAPSHOT, EngineName, engine_of
from ._faults import Faults, seconds
from ._login_log import Login, LoginLog
from ._stack import Stack
from ._verifier import LONGEST_LIFETIME, Verifier


class LocalRds:
    """A database that authenticates as RDS does, with no AWS account.

    A real PostgreSQL on a Unix socket in a private directory, behind a gate on
    loopback that ends TLS, takes an IAM token for the password and judges it as AWS
    does: 28000 `PAM authentication failed for user "x"` is all that a client hears of
    a bad one, and `log` says why. It runs in a thread of its own, so blocking clients
    and tests that stall their loop can use it. It is gone with the process that
    started it, even after SIGKILL. Several at once do not know of each other.

    With `engine="mariadb"` it is a real MariaDB (`apt-get install mariadb-server-core`,
    or a server that `RDS_IAM_MARIADB_BIN` names; and the extra `mysql`), and what is
    refused hears 1045 `Access denied for user 'x'@'localhost' (using password: YES)`.
    IAM users are those that `create_user` makes, or `execute` with RDS's own clause
    `IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS'`, for which a password stands in
    that only the gate knows. What it cannot do: that clause in a client's own session
    (1524), and COM_CHANGE_USER to an IAM user (1045).

    All methods and attributes may be used from any thread; methods block.

    Attributes:
        host: The name that tokens have to be signed for.
        region: The region that they have to be signed for.
        user: An IAM user, the owner of `database`.
        database: A database of its own.
        credentials: A key pair that is trusted for any user, for ever.
        engine: `postgres` or `mariadb`.
        log: What became of each login.

    Example:
        >>> with LocalRds() as rds:
        ...     rds.url
        'postgresql+asyncpg://app@localhost:.../app'
    """

    def __init__(
        self,
        *,
        engine: EngineName = "postgres",
        user: str = "app",
        database: str = "app",
        host: str = "localhost",
        port: int = 0,
        region: str = "eu-west-1",
        token_lifetime: float = LONGEST_LIFETIME,
        observe: Callable[[Login], None] | None = None,
    ) -> None:
        """Prepare; nothing runs before `start`.

        Args:
            engine: What RDS calls the kind of database.
            user: The IAM user to create.
            database: The database to create for it.
            host: The name to sign for. Whatever it is, the gate listens on 127.0.0.1,
                and its certificate is good for that and for localhost too.
            port: The port to listen on; 0 takes a free one.
            region: The region to sign for.
            token_lifetime: See the attribute of this name.
            observe: Called with each login once it stands in `log`, in the gate's thread;
                it must neither block nor raise.

        Raises:
            ConfigurationError: When one of them cannot be.
        """
        # The port is a free one so far; the rest is checked as it will be used.
        checked = Endpoint(host=host, port=port or 5432, user=user, region=region)
        self._engine = engine_of(engine)
        for name, value in (("user", user), ("database", database)):
            if value in self._engine.taken or not value:
                raise ConfigurationError(f"{name} {value!r} is taken, or empty")
        self.engine: EngineName = engine
        self.host: str = checked.host
        self.region = region
        self.user = user
        self.database = database
        self.credentials: Credentials = draw_key_pair()
        self.log: LoginLog = LoginLog(observe)
        self._port = port
        self._faults = Faults()
        self._verifier = Verifier(lifetime=seconds("token_lifetime", token_lifetime))
        self._verifier.trust(self.credentials)
        self._stack: Stack | None = None
        self._has_snapshot = False

    def __repr__(self) -> str:
        state = "running" if self._stack else "stopped"
        return f"<LocalRds {self.user}@{self.host}:{self._port}/{self.database} {state}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it all, in about half a second; nothing happens when it runs already.

        Raises:
            ConfigurationError: When there is no such server, or trustme is missing.
            RdsIamError: When the server does not start, with the end of its log.
        """
        if self._stack is not None:
            return
        stack = Stack(
            self._engine,
            host=self.host,
            port=self._port,
            region=self.region,
            verifier=self._verifier,
            faults=self._faults,
            log=self.log,
        )
        try:
            stack.execute(self._engine.own, *self._engine.set_up(self.user, self.database))
            stack.open()
        except BaseException:
            stack.stop()
            raise
        self._stack, self._port = stack, stack.port

    def stop(self) -> None:
        """End it all and erase its files; nothing happens when it does not run."""
        stack, self._stack = self._stack, None
        self._has_snapshot = False
        if stack is not None:
            stack.stop()

    @property
    def port(self) -> int:
        """The port that the gate listens on; it stays the same from the first start on."""
        return self._port

    @property
    def url(self) -> str:
        """A SQLAlchemy URL for `user` and `database`, without a password."""
        return (
            f"{self._engine.driver}://{quote(self.user, safe='')}@{self.host}:{self.port}"
            f"/{quote(self.database, safe='')}"
        )

    @property
    def endpoint(self) -> Endpoint:
        """What a token for `user` has to be signed for."""
        return Endpoint(host=self.host, port=self.port, user=self.user, region=self.region)

    @property
    def ca_file(self) -> str:
        """The path of a PEM file: the authority that the gate's certificate comes from."""
        return self._up.ca_file

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to mint tokens and to trust the gate."""
        return environment(self.credentials, region=self.region, ca_file=self.ca_file)

    @contextlib.contextmanager
    def installed(self) -> Generator[dict[str, str]]:
        """Give this process `environment` and DATABASE_URL, and no other AWS variables.

        Yields:
            What it has been given.
        """
        given = {**self.environment, "DATABASE_URL": self.url}
        with installed(given):
            yield given

    @property
    def token_lifetime(self) -> float:
        """The longest that a token is good, in seconds.

        It counts from the token's X-Amz-Date, as on AWS, and that is in whole seconds:
        a token that was signed late in a second has lost up to one second already.
        """
        return self._verifier.lifetime

    @token_lifetime.setter
    def token_lifetime(self, value: float) -> None:
        self._verifier.lifetime = seconds("token_lifetime", value)

    @property
    def auth_delay(self) -> float:
        """Seconds that the gate waits before it answers a login."""
        return self._faults.delay

    @auth_delay.setter
    def auth_delay(self, value: float) -> None:
        self._faults.delay = seconds("auth_delay", value)

    @property
    def wall(self) -> Callable[[], float]:
        """What tells the server the time, in Unix seconds; `time.time` unless it is set.

        Give it `FakeClock.wall`, or any function. Then a refusal after `revoke` is heard
        at once, and the clock has to be moved to another second before a token is good.
        A `LocalAws` of this local RDS goes by it, too: with one that is 20 minutes ahead
        of `time.time` both are what AWS is to a machine whose clock is slow.
        """
        return self._faults.wall

    @wall.setter
    def wall(self, value: Callable[[], float]) -> None:
        if not callable(value):
            raise ConfigurationError(
                f"wall is {value!r}", hint="it is a function that returns Unix seconds"
            )
        self._faults.wall = value

    def trust(self, credentials: Credentials, *, users: Iterable[str] | None = None) -> None:
        """Accept tokens signed by one more key pair, until it expires.

        Args:
            credentials: The pair. A token dies with it, however young it is. A pair
                that is trusted already is replaced.
            users: The database users that its tokens may name (what an IAM policy says
                with `rds-db:connect`); `None` means any.
        """
        if isinstance(users, str):
            raise ConfigurationError("users is one string", hint="pass several, or [name]")
        self._verifier.trust(credentials, users=users)

    def distrust(self, access_key_id: str) -> None:
        """Refuse the tokens of a key from now on, as after its role session was revoked."""
        self._verifier.distrust(access_key_id)

    def revoke(self) -> None:
        """Refuse every token that was issued until now; do not wait.

        A token is dated in whole seconds. One that is signed after this call, but in
        the same second, cannot be told from its elders and is refused too; but its
        refusal is held back until that second is over. So whoever mints anew *because*
        he was refused always gets a token that is good. Open sessions go on, and so do
        tokens of keys that are trusted after this call.
        """
        self._verifier.revoke(self._faults.wall())

    def refuse(self, count: int) -> None:
        """Refuse the next *count* tokens, however good; replaces an earlier count."""
        self._faults.refuse.set(count)

    def reset(self, count: int) -> None:
        """Cut the next *count* logins off with a TCP reset just before their answer."""
        self._faults.reset.set(count)

    def pause(self) -> None:
        """Stop listening: connections are refused, open ones go on."""
        self._up.pause()

    def resume(self) -> None:
        """Listen again, on the same port."""
        self._up.resume()

    def restart(self) -> None:
        """Restart the server behind the gate and wait until it accepts sessions again.

        Open sessions end as in a failover (PostgreSQL: 57P01), and who logs in meanwhile
        hears that the database is starting up (57P03; MariaDB: 1053, shutting down).
        """
        self._up.restart()

    def clear_faults(self) -> None:
        """Undo what the levers did, so that a good token is good: for the next test.

        What was revoked is good again and so is `credentials`, also when they were
        distrusted; nothing is delayed, refused, reset or paused; `token_lifetime` is 900
        and `wall` the system's. Keys that were trusted stay so.
        """
        self.token_lifetime = LONGEST_LIFETIME
        self.auth_delay = 0.0
        self.wall = time.time
        self.refuse(0)
        self.reset(0)
        self._verifier.forgive()
        self._verifier.trust(self.credentials)
        if self._stack is not None:
            self._stack.resume()

    async def snapshot(self) -> Credentials:
        """Return `credentials`: a local RDS can be given as `credentials=` itself."""
        return self.credentials

    def execute(self, sql: str, *, owner: str | None = None) -> None:
        """Run *sql* as superuser on `database`, past the gate. What the server says is raised.

        Args:
            sql: One statement or several.
            owner: To whom what is created is to belong, as if that user had run *sql*;
                `None` means the superuser. In MariaDB it makes no difference.
        """
        become = () if owner is None else self._engine.become(owner)
        self._up.execute(self.database, *become, sql)

    def create_snapshot(self) -> None:
        """Keep `database` as it is now for `restore_snapshot`; sessions on it end.

        Raises:
            ConfigurationError: With MariaDB, which cannot copy a database.
        """
        copy = self._engine.copy_database
        if copy is None:
            raise ConfigurationError(
                f"{self.engine} cannot copy a database",
                hint="restore_snapshot() makes it empty; then make its tables again",
            )
        self._up.execute(self._engine.own, *copy(self.database, SNAPSHOT, self.user))
        self._has_snapshot = True

    def restore_snapshot(self) -> None:
        """Make `database` what it was at `create_snapshot`, else empty; sessions on it end.

        Takes about 20 ms.
        """
        copy = self._engine.copy_database
        if copy is not None and self._has_snapshot:
            statements = copy(SNAPSHOT, self.database, self.user)
        else:
            statements = self._engine.clear_database(self.database, self.user)
        self._up.execute(self._engine.own, *statements)

    def create_user(self, name: str, *, password: str | None = None) -> None:
        """Create one more database user.

        Args:
            name: Any name, such as `team-a.reader`.
            password: What the server itself is to ask for (PostgreSQL: SCRAM); `None`
                makes an IAM user, one that needs a token.

        Raises:
            ConfigurationError: When *name* is empty.
        """
        if not name:
            raise ConfigurationError("the name of a user is empty")
        if password is None:
            statements = self._engine.create_iam_user(name)
        else:
            statements = self._engine.create_password_user(name, password)
        self._up.execute(self.database, *statements)

    @property
    def _up(self) -> Stack:
        if self._stack is None:
            raise ConfigurationError(
                "this local RDS does not run", hint="use it in a with block, or call start()"
            )
        return self._stack
