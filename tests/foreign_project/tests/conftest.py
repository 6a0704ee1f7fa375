import pytest
from parcels.shelf import metadata


@pytest.fixture(scope="session")
def rds_iam_schema():
    async def create_tables(engine):
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)

    return create_tables


@pytest.fixture
def anyio_backend():
    return "asyncio"
