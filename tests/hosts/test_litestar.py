"""L16, L17, L19 in Litestar, by its lifespan and by its hooks, on uvicorn."""

from __future__ import annotations

import signal

import pytest

from .conftest import WELL, Start, patient

pytestmark = patient

PROGRAM = """
import uvicorn
from litestar import Litestar, get

engine = create_async_engine(URL)
refresher = TokenRefresher(engine)

@get("/")
async def index() -> dict[str, object]:
    return await opened(refresher, engine)

@contextlib.asynccontextmanager
async def lifespan(app):
    async with refresher:
        yield
    await engine.dispose()
    print("closed", ours())

async def start():
    await refresher.start()  # itself it has a parameter, for which Litestar would pass the app

async def close():
    await refresher.aclose()
    await engine.dispose()
    print("closed", ours())

WAYS = {
    "lifespan": {"lifespan": [lifespan]},
    "hooks": {"on_startup": [start], "on_shutdown": [close]},
}
uvicorn.run(Litestar([index], **WAYS[WAY]), port=0)
"""


@pytest.mark.parametrize("way", ["lifespan", "hooks"])
def test_the_app_opens_and_closes_it(start: Start, way: str) -> None:
    """L16, L19: a hook returns at once, so nothing can be held open around what comes next."""
    host = start(f"WAY = {way!r}\n{PROGRAM}")
    address = host.wait_for(r"running on (http://\S+)")[1]
    assert host.get(address) == WELL
    assert host.end(signal.SIGINT) in (0, -signal.SIGINT)  # uvicorn raises it once more
    assert "closed []" in str(host)


def test_a_first_mint_that_fails_is_what_the_server_says(start: Start) -> None:
    """L17: the start fails with the real error, and the process ends."""
    host = start(f"WAY = 'hooks'\n{PROGRAM}", keys=False)
    assert host.end() == 3
    assert "CredentialsError: no credentials found in the AWS chain" in str(host)
