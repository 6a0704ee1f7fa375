"""A web service that shows Prometheus how its IAM logins fare, and logs it, too.

For whoever is woken at night: the metrics, alerts and dashboard of docs/ are about this.
OpenTelemetry instead: `otel_events()` in the place of `prometheus_events(registry)`.

Run it:
    export DATABASE_URL=postgresql+asyncpg://app@mydb.abc.eu-west-1.rds.amazonaws.com/orders
    export RDS_IAM_CA_FILE=global-bundle.pem
    uvicorn --app-dir examples metrics_app:app
"""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from rds_iam_async import TokenRefresher
from rds_iam_async.telemetry import all_of, log_events, prometheus_events

registry = CollectorRegistry()
observe = all_of(log_events, prometheus_events(registry))  # one for all refreshers of the app


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    """Hold the first token before the first request; close everything after the last."""
    engine = create_async_engine(os.environ["DATABASE_URL"], pool_pre_ping=True)
    async with TokenRefresher(engine, observe=observe):
        app.state.engine = engine
        try:
            yield
        finally:
            await engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.get("/metrics")
def metrics() -> Response:
    """Answer a scrape. It names hosts and users: keep it internal."""
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


@app.get("/now")
async def now() -> str:
    """Ask the database for the time."""
    async with app.state.engine.connect() as connection:
        return str((await connection.execute(text("SELECT now()"))).scalar_one())
