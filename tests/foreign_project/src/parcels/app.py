"""The app as it runs in production: it finds its database in the environment."""

from __future__ import annotations

import os

from rds_iam_async import open_engine

from .shelf import Shelf


async def receive(recipients: list[str]) -> int:
    """Store a parcel for each of *recipients*; return how many there are then."""
    async with open_engine(os.environ["DATABASE_URL"]) as engine:
        shelf = Shelf(engine)
        for recipient in recipients:
            await shelf.put(recipient)
        return await shelf.count()
