"""An aiohttp service whose connections log in with IAM tokens.

For whoever runs aiohttp's server on RDS or Aurora. It shows a `TokenRefresher` in a cleanup
context, a session for each request, and probes for an orchestrator. When AWS gives no
credentials at start-up the process ends with `CredentialsError`, and its orchestrator tries
again; when that happens later, requests go on while the token in hand is good.

Run it:
    export DATABASE_URL=postgresql+asyncpg://app@mydb.abc.eu-west-1.rds.amazonaws.com/orders
    export RDS_IAM_CA_FILE=global-bundle.pem
    python examples/aiohttp_app.py
"""

import os
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from rds_iam_async import TokenRefresher

REFRESHER = web.AppKey("REFRESHER", TokenRefresher)
SESSIONS = web.AppKey("SESSIONS", async_sessionmaker[AsyncSession])


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


async def database(app: web.Application) -> AsyncIterator[None]:
    """Hold the first token before the first request; close everything after the last."""
    engine = create_async_engine(os.environ["DATABASE_URL"], pool_pre_ping=True)
    # Raises when AWS gives no credentials: a service that cannot log in does not start.
    async with TokenRefresher(engine) as app[REFRESHER]:
        app[SESSIONS] = async_sessionmaker(engine, expire_on_commit=False)
        try:
            yield
        finally:
            await engine.dispose()


routes = web.RouteTableDef()


@routes.post("/orders")
async def create_order(request: web.Request) -> web.Response:
    """Store one order."""
    try:
        match await request.json():
            case {"item": str(item), "quantity": int(quantity)} if item and 1 <= quantity <= 1000:
                order = Order(item=item, quantity=quantity)
            case _:
                raise ValueError("an order has an item, and a quantity from 1 to 1000")
    except ValueError as error:
        raise web.HTTPUnprocessableEntity(text=str(error)) from error
    async with request.app[SESSIONS]() as session:
        session.add(order)
        await session.commit()
    return web.json_response(order.to_dict(), status=201)


@routes.get("/orders")
async def list_orders(request: web.Request) -> web.Response:
    """Return the latest orders."""
    async with request.app[SESSIONS]() as session:
        latest = await session.scalars(select(Order).order_by(Order.id.desc()).limit(100))
        return web.json_response([order.to_dict() for order in latest])


@routes.get("/live")
async def live(_: web.Request) -> web.Response:
    """Tell that the process answers. A restart would not bring AWS back, so ask no more."""
    return web.json_response({"live": True})


@routes.get("/ready")
async def ready(request: web.Request) -> web.Response:
    """Tell whether connections can be opened. It names hosts and keys: keep it internal."""
    status = request.app[REFRESHER].status()
    return web.json_response(status.to_dict(), status=200 if status.ready else 503)


async def make_app() -> web.Application:
    """Make the app; gunicorn's aiohttp workers call this, too, once in each."""
    app = web.Application()
    app.add_routes(routes)
    app.cleanup_ctx.append(database)
    return app


if __name__ == "__main__":
    host, port = os.environ.get("HOST", "127.0.0.1"), int(os.environ.get("PORT", "8080"))
    web.run_app(make_app(), host=host, port=port)
