"""The parcels that wait to be fetched."""

from __future__ import annotations

from sqlalchemy import Column, Identity, Integer, MetaData, Table, Text, func, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

metadata = MetaData()
parcels = Table(
    "parcels",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("recipient", Text, nullable=False),
)


class Shelf:
    """All parcels of one database."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def put(self, recipient: str) -> int:
        """Store a parcel, and return its number."""
        async with self._engine.begin() as connection:
            stored = await connection.execute(insert(parcels).values(recipient=recipient))
            (number,) = stored.inserted_primary_key
            return number

    async def count(self) -> int:
        """Return how many there are."""
        async with self._engine.connect() as connection:
            return await connection.scalar(select(func.count()).select_from(parcels))
