"""The package sqlalchemy-rds-iam-auth-plugin: `plugins=["rds_iam"]` and words in the URL.

The `SSLContext` is passed past it: its own way is `package_auth_plugin_ssl_ca`. Its cache has
a constant for its time-out, which is set to scale.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from _load import Place, serve
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool


@asynccontextmanager
async def open_engine(place: Place) -> AsyncIterator[AsyncEngine]:
    plugin = importlib.import_module("sqlalchemy_rds_iam.plugin").RDSIAMAuthPlugin
    plugin.TOKEN_EXPIRY_MINUTES /= place.scale
    url = place.url.update_query_dict({"use_iam_auth": "true", "aws_region": place.region})
    yield create_async_engine(
        url, plugins=["rds_iam"], connect_args={"ssl": place.tls()}, poolclass=NullPool
    )


if __name__ == "__main__":
    serve(open_engine)
