"""The web examples do what they say: Litestar, Starlette, aiohttp, FastAPI with SQLModel."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

import httpx
import pytest

from rds_iam_async.testing import LocalRds

from .test_examples import (
    END_SESSIONS,
    EXAMPLES,
    NOBODY_STAYS,
    Output,
    ShortLivedKeys,
    Start,
    database,
    output,
    start,
)
from .workload import outcomes

__all__ = ["database", "output", "start"]  # fixtures

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("start")]

LIFETIME = 3
"""Seconds that keys live, and with them tokens, for us and for the server."""

UVICORN = ("-m", "uvicorn", "--app-dir", str(EXAMPLES), "--port", "0", "--log-level", "info")

SERVERS = {
    "litestar": (*UVICORN, "litestar_app:app"),
    "starlette": (*UVICORN, "starlette_app:app"),
    "sqlmodel": (*UVICORN, "sqlmodel_app:app"),
    "aiohttp": (str(EXAMPLES / "aiohttp_app.py"),),
}
WARNINGS = ("-W", "error")


def check_that_it_serves(client: httpx.Client, quantity: int) -> None:
    stored = client.post("/orders", json={"item": "tea", "quantity": quantity})
    assert stored.status_code == 201, stored.text
    assert stored.json() == {"id": quantity, "item": "tea", "quantity": quantity}
    assert client.get("/orders").json()[0] == stored.json()


def ahead_of_need(state: dict[str, int]) -> int:
    """Return how many tokens were minted before a connection asked for one."""
    return state["mints"] - state["cold_mints"]


@pytest.mark.parametrize("framework", SERVERS)
def test_a_service_serves_while_tokens_rotate_and_closes_what_it_opened(
    framework: str, database: LocalRds, start: Start, output: Output, tmp_path: Path
) -> None:
    """No request notices that the first token died; what is no order is refused; probes answer;
    and at its end nothing is left, nothing complained, and no token was shown.
    """
    database.token_lifetime = LIFETIME
    keys = ShortLivedKeys(tmp_path, database, lifetime=LIFETIME)
    server = start(*WARNINGS, *SERVERS[framework], env=keys.environment | {"PORT": "0"})
    address = output.wait_for(r"[Rr]unning on (http://\S+)", within=60)[1]
    with httpx.Client(base_url=address, timeout=30) as client:
        check_that_it_serves(client, 1)
        # When the third token is minted the first is dead.
        while ahead_of_need(state := client.get("/ready").json()["endpoints"][0]) < 3:
            assert client.get("/live").json() == {"live": True}
            time.sleep(max(0.0, state["next_mint_at"] - time.time()))
        database.execute(END_SESSIONS)
        check_that_it_serves(client, 2)
        for nonsense in ({"item": "", "quantity": 1}, {"item": "tea", "quantity": 0}, [], "tea"):
            assert client.post("/orders", json=nonsense).status_code in (400, 422)
        assert outcomes(database) == {"accepted": 2}
    assert server.end(signal.SIGTERM) in (0, -signal.SIGTERM)  # uvicorn raises it once more
    database.execute(NOBODY_STAYS)
    for word in ("Traceback", "Warning", "X-Amz-Signature", *keys.secrets):
        assert word not in str(output), f"{output}"


def test_a_service_that_has_no_credentials_does_not_start(
    database: LocalRds, start: Start, output: Output, tmp_path: Path
) -> None:
    """It ends by itself, with the real error: an orchestrator sees that, and tries again.

    The same of the other frameworks is in `tests/hosts`.
    """
    keys = ShortLivedKeys(tmp_path, database, lifetime=LIFETIME)
    keys.run_out()
    server = start(*WARNINGS, *SERVERS["sqlmodel"], env=keys.environment)
    assert server.wait(60) == 3
    assert "CredentialsError" in str(output)
    assert "Application startup failed" in str(output)
    assert outcomes(database) == {}


def test_a_service_of_several_processes_ends_too_but_does_not_say_that_it_failed(
    start: Start, output: Output, tmp_path: Path, database: LocalRds
) -> None:
    """uvicorn's parent ends with 0 when a child cannot start, and the guides say so."""
    keys = ShortLivedKeys(tmp_path, database, lifetime=LIFETIME)
    keys.run_out()
    server = start(*SERVERS["sqlmodel"], "--workers", "2", env=keys.environment)
    assert server.wait(60) == 0
    assert "CredentialsError" in str(output)


@pytest.mark.parametrize("framework", SERVERS)
def test_its_guide_starts_the_same_server(framework: str) -> None:
    """The command in the documentation is the one that runs here."""
    app = Path(SERVERS[framework][-1]).name
    guide = (EXAMPLES.parent / "docs" / "how-to" / f"{framework}.md").read_text()
    assert re.search(rf"^(uvicorn|python) {re.escape(app)}$", guide, re.MULTILINE)
