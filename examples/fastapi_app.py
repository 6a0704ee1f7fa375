"""A FastAPI service whose connections log in with IAM tokens.

For whoever runs a web service on RDS or Aurora. It shows a `TokenRefresher` that lives as
long as the app, a session for each request, and probes for an orchestrator.

Run it:
    export DATABASE_URL=postgresql+asyncpg://app@mydb.abc.eu-west-1.rds.amazonaws.com/orders
    export RDS_IAM_CA_FILE=global-bundle.pem
    uvicorn --app-dir examples fastapi_app:app
"""

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
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


class NewOrder(BaseModel):
    """What a client sends."""

    item: str = Field(min_length=1, max_length=200)
    quantity: int = Field(ge=1, le=1000)


class StoredOrder(NewOrder):
    """What a client gets back."""

    id: int


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
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


async def get_session(request: Request) -> AsyncGenerator[AsyncSession]:
    """Give a route its session. The route commits; what it did not commit is rolled back."""
    sessions: async_sessionmaker[AsyncSession] = request.app.state.sessions
    async with sessions() as session:
        yield session


Session = Annotated[AsyncSession, Depends(get_session)]

app = FastAPI(lifespan=lifespan)


@app.post("/orders", status_code=201, response_model=StoredOrder)
async def create_order(new: NewOrder, session: Session) -> Order:
    """Store one order."""
    order = Order(item=new.item, quantity=new.quantity)
    session.add(order)
    # Here, not in the dependency: that may end only after the client has its answer.
    await session.commit()
    return order


@app.get("/orders", response_model=list[StoredOrder])
async def list_orders(session: Session) -> Sequence[Order]:
    """Return the latest orders."""
    return (await session.scalars(select(Order).order_by(Order.id.desc()).limit(100))).all()


@app.get("/live")
async def live() -> dict[str, bool]:
    """Tell that the process answers. A restart would not bring AWS back, so ask no more."""
    return {"live": True}


@app.get("/ready")
async def ready(request: Request) -> JSONResponse:
    """Tell whether connections can be opened. It names hosts and keys: keep it internal."""
    refresher: TokenRefresher = request.app.state.refresher
    status = refresher.status()
    return JSONResponse(status.to_dict(), status_code=200 if status.ready else 503)
