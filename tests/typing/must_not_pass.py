"""Calls that a type checker must refuse: an ignore that is not needed is an error, too."""

from __future__ import annotations

from rds_iam_async import Endpoint, RefreshPolicy, TokenRefresher, open_engine

TokenRefresher("postgresql+asyncpg://app@db/x")  # type: ignore[arg-type]
RefreshPolicy(300)  # type: ignore[call-arg]
RefreshPolicy(liftime=4)  # type: ignore[call-arg]
Endpoint(host="db", port="5432", user="app", region="eu-west-1")  # type: ignore[arg-type]
open_engine("postgresql+asyncpg://app@db/x", "eu-west-1")  # type: ignore[call-arg]
