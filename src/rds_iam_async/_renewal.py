"""Another SDK session with the same settings, made for a tenth of the price.

What is costly about a session is not its credentials: its 120 event handlers, each of
whose signatures is inspected (4 ms), and the service models, which are parsed on first
use (9 to 16 ms a file). Both are taken over. A thread that does either holds the
interpreter lock, and so stalls the application's loop. The rest, some 10 ms, is done in
small steps, with a rest after each.
"""

from __future__ import annotations

import contextlib
import copy
import gzip
import json
import os
from typing import Any

from ._offload import give_way


def core_of(session: Any) -> Any:
    """Return the botocore session that a boto3 or aioboto3 session wraps, or *session* itself."""
    return getattr(session, "_session", session)  # shown by no public name


def renewed(core: Any) -> Any:
    """Return a session with the settings of *core*, which has just read the profile files.

    It holds no keys. It is *core* itself if that is of a class of the caller's own, which we
    cannot make.
    """
    fresh = _another(core)
    if fresh is None:
        return core
    give_way()
    for name, value in core.instance_variables().items():
        fresh.set_config_variable(name, value)
    fresh.register_component("data_loader", core.get_component("data_loader"))
    for event in _STEPS:
        fresh.register(event, _give_way)
        give_way()
    # What `get_credentials` would do first, in one go.
    _ = fresh.full_config
    give_way()
    fresh.get_component("credential_provider")
    return fresh


_STEPS = (
    "creating-client-class",
    "creating-serializer",
    "provide-client-params",
    "request-created",
    "before-send",
    "needs-retry",
    "after-call",
)
"""Events of a client, of STS or SSO, between which it works for half a millisecond or more."""


def _give_way(**_: Any) -> None:
    give_way()


def _another(core: Any) -> Any:
    # A copy, as the SDK makes one for each client: what is registered later stays apart.
    handlers = copy.copy(core.get_component("event_emitter"))
    with contextlib.suppress(TypeError):
        return type(core)(event_hooks=handlers, include_builtin_handlers=False)
    with contextlib.suppress(TypeError):
        return type(core)()
    return None


def in_small_bites(session: Any) -> Any:
    """Let *session* parse its data files so that other threads can interrupt it; return it."""
    loader = core_of(session).get_component("data_loader")
    if hasattr(loader, "file_loader"):
        loader.file_loader = SmallBites(loader.file_loader)
    return session


class SmallBites:
    """Loads the SDK's data files as *inner* does, interruptibly.

    `json.loads` is C, and lets nobody else run until it is done, unless it calls Python
    code on its way: here for each object.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.exists = inner.exists

    def load_file(self, path: str) -> Any:
        """Return what stands in the file, or `None`.

        Args:
            path: The file's, without its suffix.
        """
        for suffix, opener in ((".json", open), (".json.gz", gzip.open)):
            if os.path.isfile(path + suffix):
                with opener(path + suffix, "rb") as file:
                    return json.load(file, object_hook=_as_it_is)
        return self._inner.load_file(path)


def _as_it_is(parsed: dict[str, Any]) -> dict[str, Any]:
    return parsed
