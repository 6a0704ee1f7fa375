"""What happens to a Dask cluster in the course of a day, in seconds: a program for its test.

It says what it sees, a line for each. KEYS names the program that gives AWS keys.
"""

import contextlib
import json
import os
import signal
import time
from typing import Any

import dask_cluster
from distributed import Client, get_worker
from sqlalchemy import text

KEYS = os.environ["KEYS"]

HANG_UP = text(
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
    " WHERE usename = current_user AND pid <> pg_backend_pid()"
)


def facts() -> dict[str, Any]:
    (endpoint,) = get_worker().plugins["database"].refresher.status().endpoints
    return {
        "pid": os.getpid(),
        "ready": endpoint.ready,
        "mints": endpoint.mints,
        "cold": endpoint.cold_mints,
        "next_mint_at": endpoint.next_mint_at,
    }


def facts_of_all(client: Client) -> list[dict[str, Any]]:
    # By tasks: a worker takes none before its plugin is set up, but answers `client.run`.
    return [
        client.submit(facts, workers=[address], pure=False).result()
        for address in client.scheduler_info(n_workers=-1)["workers"]
    ]


def hang_up() -> int:
    with dask_cluster.engine().connect() as connection:
        return len(connection.execute(HANG_UP).all())


def replace_one(client: Client) -> int:
    """Kill a worker process; return the number of the one that its nanny starts instead."""
    before = client.run(os.getpid)
    victim, _ = before.values()
    os.kill(victim, signal.SIGKILL)
    while True:
        with contextlib.suppress(OSError):  # of the one that has gone
            now = client.run(os.getpid)
            if victim not in now.values() and len(now) == 2:
                return (set(now.values()) - set(before.values())).pop()
        time.sleep(0.2)  # its nanny tells nobody that another one is there


def say(what: str, value: Any) -> None:
    print(f"{what}: {json.dumps(value)}", flush=True)


def main() -> None:
    with dask_cluster.open_client() as client:
        os.environ["DASK_SCHEDULER_ADDRESS"] = client.scheduler.address
        dask_cluster.main()
        say("first", facts_of_all(client))

        workers = facts_of_all(client)
        while min(worker["mints"] for worker in workers) < 3:
            time.sleep(max(0.0, min(worker["next_mint_at"] for worker in workers) - time.time()))
            workers = facts_of_all(client)
        say("rotated", workers)
        say("hung up", client.submit(hang_up, pure=False).result())
        say("totals", dask_cluster.totals_of_all(client))

        os.rename(KEYS, f"{KEYS}.away")
        say("new", replace_one(client))
        say("without keys", facts_of_all(client))
        os.rename(f"{KEYS}.away", KEYS)
        say("totals", dask_cluster.totals_of_all(client))
        say("with keys", facts_of_all(client))


if __name__ == "__main__":
    main()
