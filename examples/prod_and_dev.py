"""One module-level engine: IAM through RDS Proxy in production, a password in development.

For whoever has a `db.py` that the whole app imports. With DATABASE_PASSWORD set it is an
ordinary engine and AWS is never asked for anything; without it connections log in with
IAM tokens. Importing the module connects to nothing.

Run it in production:
    export DATABASE_URL=postgresql+asyncpg://app@p.proxy-abc.eu-west-1.rds.amazonaws.com/orders
    uvicorn --app-dir examples prod_and_dev:app

Run it in development:
    export DATABASE_URL=postgresql+asyncpg://dev@localhost/orders DATABASE_PASSWORD=dev
    uvicorn --app-dir examples prod_and_dev:app
"""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, nullcontext
from typing import Annotated

from fastapi import Depends, FastAPI
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from rds_iam_async import TokenRefresher

# RDS Proxy hangs up on a client that was idle for 1800 s (IdleClientTimeout, by default):
# replace connections before that, and look at each before it is used all the same.
# https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-proxy-connections.html
RECYCLE_SECONDS = 1500

url = make_url(os.environ["DATABASE_URL"])
password = os.environ.get("DATABASE_PASSWORD")

engine = create_async_engine(
    url.set(password=password) if password else url,
    pool_pre_ping=True,
    pool_recycle=RECYCLE_SECONDS,
)
# Attached here and not in `lifespan`, so that a script which only imports `engine` works too.
refresher = None if password else TokenRefresher(engine)
sessions = async_sessionmaker(engine, expire_on_commit=False)


async def get_session() -> AsyncGenerator[AsyncSession]:
    """Give a route its session. The route commits; what it did not commit is rolled back."""
    async with sessions() as session:
        yield session


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
    """Mint ahead of need while the app runs, where there is anything to mint."""
    async with refresher or nullcontext():
        try:
            yield
        finally:
            await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.get("/whoami")
async def whoami(session: Annotated[AsyncSession, Depends(get_session)]) -> dict[str, str]:
    """Tell as whom the app has logged in."""
    return {"user": (await session.execute(text("SELECT current_user"))).scalar_one()}
