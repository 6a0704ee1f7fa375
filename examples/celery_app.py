"""A Celery worker whose connections log in with IAM tokens, in each of its processes.

For whoever runs background jobs with the prefork pool. Nothing has to be done for the forks:
a pool process that finds no token mints one. Starting the refresher in each, as here, has the
first token there before the first job, and each later one ahead of need.

Run it:
    export DATABASE_URL=postgresql+psycopg2://app@mydb.abc.eu-west-1.rds.amazonaws.com/orders
    export RDS_IAM_CA_FILE=global-bundle.pem CELERY_BROKER_URL=redis://localhost
    celery --workdir examples --app celery_app worker --concurrency 2
"""

import logging
import os
from typing import Any

from celery import Celery
from celery.signals import worker_process_init, worker_process_shutdown
from sqlalchemy import create_engine, text

from rds_iam_async import MintError
from rds_iam_async.sync import ThreadedRefresher

logger = logging.getLogger(__name__)

app = Celery("orders")
engine = create_engine(os.environ["DATABASE_URL"], pool_pre_ping=True)
refresher = ThreadedRefresher(engine)


@worker_process_init.connect
def begin(**_: Any) -> None:
    """Mint ahead of need from now on, in this pool process."""
    # What the parent has open, if anything, is the parent's.
    engine.dispose(close=False)
    try:
        # Celery kills a pool process that is not up within 4 s.
        refresher.start(timeout=3)
    except MintError as error:
        logger.warning("no token yet, jobs will wait for one: %s", error)


@worker_process_shutdown.connect
def end(**_: Any) -> None:
    """Leave nothing behind."""
    engine.dispose()
    refresher.close()


@app.task
def store_order(item: str, quantity: int) -> int:
    """Store one order; return its number."""
    insert = text("INSERT INTO orders (item, quantity) VALUES (:item, :quantity) RETURNING id")
    with engine.begin() as connection:
        number: int = connection.execute(insert, {"item": item, "quantity": quantity}).scalar_one()
    logger.info("order %d stored by process %d", number, os.getpid())
    return number
