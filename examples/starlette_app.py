"""A Starlette service whose connections log in with IAM tokens.

For whoever runs Starlette, or something built on it, on RDS or Aurora. It shows a
`TokenRefresher` in the lifespan's state, a session for each request, and probes for an
orchestrator. When AWS gives no credentials at start-up the process ends with
`CredentialsError`, and its orchestrator tries again; when that happens later, requests go on
while the token in hand is good.

Run it:
    export DATABASE_URL=postgresql+asyncpg://app@mydb.abc.eu-west-1.rds.amazonaws.com/orders
    export RDS_IAM_CA_FILE=global-bundle.pem
    uvicorn --app-dir examples starlette_app:app
"""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, TypedDict

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from rds_iam_async import TokenRefresher


class Base(DeclarativeBase):
    """What the tables have in common."""


class Order(Base):
    """A row of `orders`."""

    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    item: Mapped[str]
    quantity: Mapped[int]

    def to_dict(self) -> dict[str, Any]:
        """Return what a client gets."""
        return {"id": self.id, "item": self.item, "quantity": self.quantity}


class State(TypedDict):
    """What the lifespan gives each request, as `request.state`."""

    refresher: TokenRefresher
    sessions: async_sessionmaker[AsyncSession]


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncGenerator[State]:
    """Hold the first token before the first request; close everything after the last."""
    engine = create_async_engine(os.environ["DATABASE_URL"], pool_pre_ping=True)
    # Raises when AWS gives no credentials: a service that cannot log in does not start.
    async with TokenRefresher(engine) as refresher:
        try:
            yield {
                "refresher": refresher,
                "sessions": async_sessionmaker(engine, expire_on_commit=False),
            }
        finally:
            await engine.dispose()


def open_session(request: Request) -> AsyncSession:
    """Give a route its session. The route commits; what it did not commit is rolled back."""
    sessions: async_sessionmaker[AsyncSession] = request.state.sessions
    return sessions()


async def create_order(request: Request) -> JSONResponse:
    """Store one order."""
    try:
        match await request.json():
            case {"item": str(item), "quantity": int(quantity)} if item and 1 <= quantity <= 1000:
                order = Order(item=item, quantity=quantity)
            case _:
                raise ValueError("an order has an item, and a quantity from 1 to 1000")
    except ValueError as error:
        raise HTTPException(422, str(error)) from error
    async with open_session(request) as session:
        session.add(order)
        await session.commit()
    return JSONResponse(order.to_dict(), status_code=201)


async def list_orders(request: Request) -> JSONResponse:
    """Return the latest orders."""
    async with open_session(request) as session:
        latest = await session.scalars(select(Order).order_by(Order.id.desc()).limit(100))
        return JSONResponse([order.to_dict() for order in latest])


async def live(_: Request) -> JSONResponse:
    """Tell that the process answers. A restart would not bring AWS back, so ask no more."""
    return JSONResponse({"live": True})


async def ready(request: Request) -> JSONResponse:
    """Tell whether connections can be opened. It names hosts and keys: keep it internal."""
    refresher: TokenRefresher = request.state.refresher
    status = refresher.status()
    return JSONResponse(status.to_dict(), status_code=200 if status.ready else 503)


app = Starlette(
    routes=[
        Route("/orders", create_order, methods=["POST"]),
        Route("/orders", list_orders),
        Route("/live", live),
        Route("/ready", ready),
    ],
    lifespan=lifespan,
)
