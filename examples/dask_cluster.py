"""A Dask cluster whose worker processes log in with IAM tokens, each with its own.

For whoever outgrows one machine. A worker plugin gives each process an engine and a refresher,
also those that Dask starts later or anew. Tasks run in the threads of a worker, so the engine
is a sync one, and the refresher has a thread of its own beside the worker's loop. When AWS
gives no credentials to a worker that starts, it says so and goes on: its tasks wait up to 5 s
for a token, fail, and are tried again as often as `retries=` says.

Run it, on a cluster of this machine's or on yours:
    export DATABASE_URL=postgresql+psycopg://app@mydb.abc.eu-west-1.rds.amazonaws.com/orders
    export RDS_IAM_CA_FILE=global-bundle.pem
    python examples/dask_cluster.py
    DASK_SCHEDULER_ADDRESS=tcp://scheduler:8786 python examples/dask_cluster.py
"""

import asyncio
import logging
import os
from collections import Counter

from distributed import Client, Worker, WorkerPlugin, get_worker
from sqlalchemy import Engine, create_engine, text

from rds_iam_async import MintError
from rds_iam_async.sync import ThreadedRefresher

logger = logging.getLogger(__name__)

PARTITION = 1_000
"""Rows that one task reads."""

BOUNDS = text("SELECT coalesce(min(id), 0), coalesce(max(id), -1) FROM orders")
READ = text("SELECT item, quantity FROM orders WHERE id >= :first AND id < :end")
SUM = text("SELECT item, sum(quantity) AS total FROM orders GROUP BY item")


class Database(WorkerPlugin):
    """Gives a worker process its engine, and the tokens for it."""

    name = "database"

    def __init__(self, url: str) -> None:
        """Take the URL to the workers. There is no password in it that could leak."""
        self.url = url

    async def setup(self, worker: Worker) -> None:
        """Hold the first token before the first task."""
        # A connection for each thread, and none besides.
        threads = worker.state.nthreads
        self.engine = create_engine(self.url, pool_size=threads, max_overflow=0, pool_pre_ping=True)
        self.refresher = ThreadedRefresher(self.engine)
        try:
            # Blocking, so not in the worker's loop, which has heartbeats to send.
            await asyncio.to_thread(self.refresher.start)
        except MintError as error:
            # Raised from here it would be logged, and the worker be given tasks all the same.
            logger.warning("no token yet, tasks will wait for one: %s", error)

    async def teardown(self, worker: Worker) -> None:
        """Leave nothing behind."""
        await asyncio.to_thread(self.engine.dispose)
        await asyncio.to_thread(self.refresher.close)


def engine() -> Engine:
    """Return the engine of the worker that runs this task."""
    database = get_worker().plugins[Database.name]
    assert isinstance(database, Database)
    return database.engine


def bounds() -> tuple[int, int]:
    """Return the first order's number and the last one's."""
    with engine().connect() as connection:
        first, last = connection.execute(BOUNDS).one()
    return first, last


def totals(first: int) -> Counter[str]:
    """Add up the quantities of a partition, by item."""
    found = Counter[str]()
    with engine().connect() as connection:
        for item, quantity in connection.execute(READ, {"first": first, "end": first + PARTITION}):
            found[item] += quantity
    return found


def merged(parts: list[Counter[str]]) -> Counter[str]:
    """Add up what the partitions came to."""
    return sum(parts, Counter[str]())


def totals_in_sql() -> Counter[str]:
    """Let the database do it, to compare."""
    with engine().connect() as connection:
        return Counter({row.item: row.total for row in connection.execute(SUM)})


def totals_of_all(client: Client) -> Counter[str]:
    """Add up the quantities of all orders, by item, on all workers at once."""
    # Not pure: what a task returns is in the database, and not in its arguments.
    first, last = client.submit(bounds, pure=False, retries=3).result()
    parts = client.map(totals, range(first, last + 1, PARTITION), pure=False, retries=3)
    return client.submit(merged, parts).result()


def open_client() -> Client:
    """Connect to your cluster, or start one."""
    if "DASK_SCHEDULER_ADDRESS" in os.environ:
        return Client(os.environ["DASK_SCHEDULER_ADDRESS"])
    return Client(n_workers=2, threads_per_worker=4, dashboard_address=None)


def main() -> None:
    with open_client() as client:
        client.register_plugin(Database(os.environ["DATABASE_URL"]))
        found = totals_of_all(client)
        assert found == client.submit(totals_in_sql, pure=False).result()
        for item, total in found.most_common():
            print(f"{item}: {total}")


if __name__ == "__main__":
    main()
