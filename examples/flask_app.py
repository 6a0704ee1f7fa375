"""A Flask service whose connections log in with IAM tokens, from many threads.

For whoever runs a sync web service. It shows a `ThreadedRefresher` that is started when the
module is imported, and a session for each request. With `--preload` gunicorn imports it once
and forks: each worker begins a refresher of its own at its first connection, or probe.

Run it:
    export DATABASE_URL=postgresql+psycopg2://app@mydb.abc.eu-west-1.rds.amazonaws.com/orders
    export RDS_IAM_CA_FILE=global-bundle.pem
    gunicorn --chdir examples --preload --workers 2 --threads 8 flask_app:app
"""

import os
from typing import Any

from flask import Flask, Response, jsonify, request
from sqlalchemy import create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from rds_iam_async.sync import ThreadedRefresher


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


engine = create_engine(os.environ["DATABASE_URL"], pool_pre_ping=True)
sessions = sessionmaker(engine, expire_on_commit=False)
refresher = ThreadedRefresher(engine)
# Raises when AWS gives no credentials: a service that cannot log in does not start. It opens
# no connection, so there is none for workers to inherit. Its thread ends with the process.
refresher.start()

app = Flask(__name__)


@app.post("/orders")
def create_order() -> tuple[Response, int]:
    """Store one order."""
    sent = request.get_json()
    with sessions.begin() as session:
        order = Order(item=str(sent["item"]), quantity=int(sent["quantity"]))
        session.add(order)
    return jsonify(order.to_dict()), 201


@app.get("/orders")
def list_orders() -> Response:
    """Return the latest orders."""
    with sessions() as session:
        orders = session.scalars(select(Order).order_by(Order.id.desc()).limit(100))
        return jsonify([order.to_dict() for order in orders])


@app.get("/live")
def live() -> Response:
    """Tell that the process answers. A restart would not bring AWS back, so ask no more."""
    return jsonify(live=True, pid=os.getpid())


@app.get("/ready")
def ready() -> tuple[Response, int]:
    """Tell whether connections can be opened. It names hosts and keys: keep it internal."""
    status = refresher.status()
    return jsonify(status.to_dict()), 200 if status.ready else 503
