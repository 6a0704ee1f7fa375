"""A FastAPI service with SQLModel whose connections log in with IAM tokens.

For whoever writes tables as SQLModel classes. The engine is SQLAlchemy's, so a
`TokenRefresher` takes it as it is; the session is SQLModel's own, with its typed `exec`. When
AWS gives no credentials at start-up the process ends with `CredentialsError`, and its
orchestrator tries again; when that happens later, requests go on while the token in hand is
good.

Run it:
    export DATABASE_URL=postgresql+asyncpg://app@mydb.abc.eu-west-1.rds.amazonaws.com/orders
    export RDS_IAM_CA_FILE=global-bundle.pem
    uvicorn --app-dir examples sqlmodel_app:app
"""

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlmodel import Field, SQLModel, col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from rds_iam_async import TokenRefresher


class NewOrder(SQLModel):
    """What a client sends."""

    item: str = Field(min_length=1, max_length=200)
    quantity: int = Field(ge=1, le=1000)


class Order(NewOrder, table=True):
    """A row of `orders`, and what a client gets back."""

    __tablename__ = "orders"  # pyright: ignore[reportAssignmentType]

    id: int | None = Field(default=None, primary_key=True)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    """Hold the first token before the first request; close everything after the last."""
    engine = create_async_engine(os.environ["DATABASE_URL"], pool_pre_ping=True)
    # Raises when AWS gives no credentials: a service that cannot log in does not start.
    async with TokenRefresher(engine) as refresher:
        app.state.refresher = refresher
        app.state.sessions = async_sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)
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


@app.post("/orders", status_code=201)
async def create_order(new: NewOrder, session: Session) -> Order:
    """Store one order."""
    order = Order.model_validate(new)
    session.add(order)
    await session.commit()
    return order


@app.get("/orders")
async def list_orders(session: Session) -> Sequence[Order]:
    """Return the latest orders."""
    return (await session.exec(select(Order).order_by(col(Order.id).desc()).limit(100))).all()


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
