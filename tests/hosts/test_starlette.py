"""L16, L17, L19 in Starlette's lifespan, on uvicorn."""

from __future__ import annotations

import signal

import pytest

from .conftest import WELL, Start, patient

pytestmark = patient

PROGRAM = """
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

@contextlib.asynccontextmanager
async def lifespan(app):
    engine = create_async_engine(URL)
    async with TokenRefresher(engine) as refresher:
        async def index(request):
            return JSONResponse(await opened(refresher, engine))
        app.router.routes.append(Route("/", index))
        yield
    await engine.dispose()
    print("closed", ours())

uvicorn.run(Starlette(lifespan=lifespan), port=0, loop=LOOP)
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_the_lifespan_opens_and_closes_it(start: Start, loop: str) -> None:
    """L16, L19: requests run in tasks of their own; when the server ends nothing is left."""
    host = start(f"LOOP = {loop!r}\n{PROGRAM}")
    address = host.wait_for(r"running on (http://\S+)")[1]
    assert host.get(address) == WELL
    assert host.end(signal.SIGTERM) in (0, -signal.SIGTERM)  # uvicorn raises it once more
    assert "closed []" in str(host)
    assert "Traceback" not in str(host)


def test_a_first_mint_that_fails_is_what_the_server_says(start: Start) -> None:
    """L17: the start fails with the real error, and the process ends."""
    host = start(f"LOOP = 'asyncio'\n{PROGRAM}", keys=False)
    assert host.end() == 3
    assert "CredentialsError: no credentials found in the AWS chain" in str(host)
    assert "Application startup failed" in str(host)
