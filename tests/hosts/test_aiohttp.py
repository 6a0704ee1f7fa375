"""L16, L17, L19 in aiohttp's server, by its signals and by its cleanup contexts."""

from __future__ import annotations

import signal

import pytest

from .conftest import WELL, Start, patient

pytestmark = patient

PROGRAM = """
from aiohttp import web

engine = create_async_engine(URL)
refresher = TokenRefresher(engine)

async def index(request):
    return web.json_response(await opened(refresher, engine))

async def start(app):
    await refresher.start()

async def close(app):
    await refresher.aclose()
    await engine.dispose()
    print("closed", ours())

async def context(app):
    async with refresher:
        yield
    await close(app)

app = web.Application()
app.router.add_get("/", index)
if WAY == "signals":
    app.on_startup.append(start)
    app.on_cleanup.append(close)
else:
    app.cleanup_ctx.append(context)
web.run_app(app, host="127.0.0.1", port=0)
"""


@pytest.mark.parametrize("way", ["signals", "context"])
def test_the_app_opens_and_closes_it(start: Start, way: str) -> None:
    """L16, L19: each handler runs in a task of its own; when the server ends nothing is left."""
    host = start(f"WAY = {way!r}\n{PROGRAM}")
    address = host.wait_for(r"Running on (http://\S+)")[1]
    assert host.get(address) == WELL
    assert host.end(signal.SIGTERM) == 0
    assert "closed []" in str(host)
    assert "Traceback" not in str(host)


def test_a_first_mint_that_fails_is_what_the_server_says(start: Start) -> None:
    """L17: the start fails with the real error, and the process ends."""
    host = start(f"WAY = 'signals'\n{PROGRAM}", keys=False)
    assert host.end() == 1
    assert str(host).splitlines()[-1].startswith("rds_iam_async._errors.CredentialsError: no cred")
