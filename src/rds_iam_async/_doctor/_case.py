"""One subject under examination: asks, keeps the facts, and hands them to those who judge."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from .._endpoint import FoundRegion, find_region
from .._errors import ConfigurationError, RdsIamError
from .._mint import mint
from .._offload import in_thread
from .._tls import checked, make_context, trusts_file_alone
from .._token import Endpoint
from . import _certificate, _keys, _login, _network, _place, _refusal, _user
from ._aws import Caller, Keys, ask_who, look_for_keys
from ._finding import Diagnosis, Finding, failed, ok
from ._knock import Reply
from ._look import Look, Server, ask, look
from ._policy import policy
from ._subject import Subject

T = TypeVar("T")


class Case:
    """A method for each check: it does what has to be done, and another module says what it means.

    Each leaves here what those after it need; `_run` knows their order.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.keys: Keys
        self.found: FoundRegion | ConfigurationError
        self.caller: Caller = Caller()
        self.addresses: tuple[str, ...] = ()
        self.ca_file: str | None = None
        self.context: ssl.SSLContext
        self.server: Server
        self.look: Look
        self.session: _login.Session

    async def prepare(self) -> None:
        """Find the region, which the first questions to AWS need already."""
        subject = self.subject
        find = partial(
            find_region, subject.signed_host, region=subject.region, session=subject.session
        )
        try:
            self.found = await in_thread(find, name="rds_iam_async-region")
        except ConfigurationError as error:
            self.found = error

    @property
    def region(self) -> str | None:
        """The region, if there is one."""
        return self.found.region if isinstance(self.found, FoundRegion) else None

    async def bounded(self, work: Callable[[], T]) -> T:
        """Do blocking work in a thread, within a few steps' time.

        Raises:
            TimeoutError: When it takes longer; it is then left behind.
        """
        async with asyncio.timeout(3 * self.subject.timeout):
            return await in_thread(work, name="rds_iam_async-doctor")

    @property
    def late(self) -> str:
        """What to say when that takes longer."""
        return f"not done within {3 * self.subject.timeout:g} s"

    async def asked(self, user: str) -> Reply:
        """Return what the server wants of *user*."""
        ask_it = partial(
            ask, self.server, self.context, user=user, database=self.subject.url.database
        )
        try:
            return await self.bounded(ask_it)
        except TimeoutError:  # a server that drips
            return Reply(wants="error", said=self.late)

    # AWS

    async def credentials(self) -> Finding:
        try:
            self.keys = await look_for_keys(self.subject.session)
        except RdsIamError as error:
            return _keys.no_credentials(error)
        return _keys.credentials(self.keys)

    async def lifetime(self) -> Finding:
        return _keys.lifetime(self.keys, now=time.time())

    async def clock(self) -> Finding:
        subject = self.subject
        try:
            async with asyncio.timeout(3 * subject.timeout):
                self.caller = await ask_who(
                    self.keys.credentials,
                    profile=subject.profile,
                    region=self.region,
                    timeout=subject.timeout,
                )
        except Exception as error:  # the SDK's, of which there are many, and some quote requests
            self.caller = Caller(silence=type(error).__name__)
        return _keys.clock(self.caller)

    async def identity(self) -> Finding:
        return _keys.identity(self.caller)

    # The database's place

    async def region_found(self) -> Finding:
        if isinstance(self.found, ConfigurationError):
            return _place.no_region(self.found)
        return _place.region(self.subject, self.found)

    async def host(self) -> Finding:
        return _place.host(self.subject)

    async def address(self) -> Finding:
        subject = self.subject
        try:
            resolved = await self.bounded(partial(_network.resolve, subject.host, subject.port))
        except TimeoutError:
            return _network.no_resolver(subject, self.late)
        except OSError as error:
            return _network.no_address(subject, error)
        self.addresses = resolved.addresses
        return _network.address(subject, resolved)

    async def port(self) -> Finding:
        subject = self.subject
        dial = partial(_network.dial, port=subject.port, timeout=subject.timeout)
        answers = tuple(
            await asyncio.gather(
                *(self.bounded(partial(dial, address)) for address in self.addresses)
            )
        )
        reached = next((answer.address for answer in answers if answer.error is None), None)
        if reached is not None:
            self.server = Server(
                address=reached,
                port=subject.port,
                name=subject.signed_host,
                family=subject.family,
                direct=subject.url.query.get("sslnegotiation") == "direct",
                timeout=subject.timeout,
            )
        return _network.port(subject, answers)

    # The server

    async def trust(self) -> Finding:
        subject = self.subject
        try:
            self.ca_file = checked(subject.ca_file, None)
            alone = trusts_file_alone(self.ca_file, subject.signed_host)
            self.context = make_context(self.ca_file, alone=alone, alpn=subject.driver.alpn)
        except ConfigurationError as error:
            return failed("CA file", str(error.args[0]), fix=error.hint)
        return _certificate.trust(subject, self.context, self.ca_file)

    async def tls(self) -> Finding:
        try:
            self.look = await self.bounded(partial(look, self.server, self.context))
        except TimeoutError:  # a server that drips
            self.look = Look(outcome="broken off", said=self.late)
        return _certificate.tls(self.subject, self.look)

    async def certificate(self) -> Finding:
        return _certificate.certificate(
            self.subject, self.look, ca_file=self.ca_file, now=time.time()
        )

    async def signed_name(self) -> Finding:
        seen = self.look.certificate
        return _place.signed_name(self.subject, names=seen.names if seen else ())

    async def iam_user(self) -> Finding:
        subject = self.subject
        reply = await self.asked(subject.user)
        meant = None
        if reply.wants == "proof":
            for name in _user.other_spellings(subject.user):
                if (await self.asked(name)).wants == "token":
                    meant = name
        return _user.iam_user(subject, reply, meant=meant)

    # The login

    async def token(self) -> Finding:
        subject = self.subject
        try:
            endpoint = Endpoint(
                host=subject.signed_host,
                port=subject.signed_port,
                user=subject.user,
                region=self.region or "",
            )
        except ConfigurationError as error:
            return failed("token", str(error.args[0]), fix=error.hint)
        minted = mint(endpoint, self.keys.credentials, now=time.time())
        return ok("token", f"minted, {minted.expires_at - time.time():.0f} s to live")

    async def login(self) -> Finding:
        subject = self.subject
        assert isinstance(self.found, FoundRegion)
        try:
            async with asyncio.timeout(6 * subject.timeout):
                self.session = await _login.log_in(subject, region=self.found.region)
        except TimeoutError:
            late = _login.Refusal(code="", text=f"no session within {6 * subject.timeout:g} s")
            return _login.not_let_in(subject, late)
        except Exception as error:  # whatever the driver raises is the finding
            refusal = _login.refusal(error)
        else:
            return _login.let_in(subject, self.session)
        if not refusal.is_of_token:
            return _login.not_let_in(subject, refusal)
        causes = _refusal.causes(subject, found=self.found, keys=self.keys, caller=self.caller)
        return _login.refused(refusal, causes)

    async def membership(self) -> Finding:
        return _login.membership(self.subject, self.session)

    async def allowed(self) -> Finding:
        return ok("policy", "allows rds-db:connect: the login proves it")

    def diagnosis(self, findings: tuple[Finding, ...]) -> Diagnosis:
        """Return all that was found, with the policy that fits it."""
        return Diagnosis(
            endpoint=str(self.subject),
            findings=findings,
            policy=policy(user=self.subject.user, region=self.region, account=self.caller.account),
        )
