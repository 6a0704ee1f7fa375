"""A Litestar service whose connections log in with IAM tokens.

For whoever runs Litestar on RDS or Aurora. It shows a `TokenRefresher` that lives as long as
the app, a session for each request, and probes for an orchestrator. When AWS gives no
credentials at start-up the process ends with `CredentialsError`, and its orchestrator tries
again; when that happens later, requests go on while the token in hand is good.

Run it:
    export DATABASE_URL=postgresql+asyncpg://app@mydb.abc.eu-west-1.rds.amazonaws.com/orders
    export RDS_IAM_CA_FILE=global-bundle.pem
    uvicorn --app-dir examples litestar_app:app
"""

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any

from litestar import Litestar, Response, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.params import JSONBody
from msgspec import Meta, Struct
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from rds_iam_async import TokenRefresher


class Base(DeclarativeBase):
    """What the tables have in common."""


class Order(Base):
    """A row of `orders`."""

    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    item: Mapped[str]
    quantity: Mapped[int]


class NewOrder(Struct):
    """What a client sends."""

    item: Annotated[str, Meta(min_length=1, max_length=200)]
    quantity: Annotated[int, Meta(ge=1, le=1000)]


class StoredOrder(Struct):
    """What a client gets back."""

    id: int
    item: str
    quantity: int


def shown(order: Order) -> StoredOrder:
    return StoredOrder(id=order.id, item=order.item, quantity=order.quantity)


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncGenerator[None]:
    """Hold the first token before the first request; close everything after the last."""
    engine = create_async_engine(os.environ["DATABASE_URL"], pool_pre_ping=True)
    # Raises when AWS gives no credentials: a service that cannot log in does not start.
    async with TokenRefresher(engine) as refresher:
        app.state.refresher = refresher
        app.state.sessions = async_sessionmaker(engine, expire_on_commit=False)
        try:
            yield
        finally:
            await engine.dispose()


async def get_session(state: State) -> AsyncGenerator[AsyncSession]:
    """Give a route its session. The route commits; what it did not commit is rolled back."""
    sessions: async_sessionmaker[AsyncSession] = state.sessions
    async with sessions() as session:
        yield session


Session = NamedDependency[AsyncSession]


@post("/orders")
async def create_order(data: JSONBody[NewOrder], session: Session) -> StoredOrder:
    """Store one order."""
    order = Order(item=data.item, quantity=data.quantity)
    session.add(order)
    await session.commit()
    return shown(order)


@get("/orders")
async def list_orders(session: Session) -> Sequence[StoredOrder]:
    """Return the latest orders."""
    latest = await session.scalars(select(Order).order_by(Order.id.desc()).limit(100))
    return [shown(order) for order in latest]


@get("/live")
async def live() -> dict[str, bool]:
    """Tell that the process answers. A restart would not bring AWS back, so ask no more."""
    return {"live": True}


@get("/ready")
async def ready(state: State) -> Response[dict[str, Any]]:
    """Tell whether connections can be opened. It names hosts and keys: keep it internal."""
    refresher: TokenRefresher = state.refresher
    status = refresher.status()
    return Response(status.to_dict(), status_code=200 if status.ready else 503)


app = Litestar(
    [create_order, list_orders, live, ready],
    dependencies={"session": Provide(get_session)},
    lifespan=[lifespan],
)
