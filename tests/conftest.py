import pytest


@pytest.fixture
def anyio_backend() -> str:
    """SQLAlchemy's asyncio extension knows asyncio only."""
    return "asyncio"
