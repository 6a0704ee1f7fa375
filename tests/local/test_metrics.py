"""The metrics of a running app, and what the dashboard and the alerts ask for of them."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
import yaml
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import NullPool

from rds_iam_async import TokenRefresher
from rds_iam_async.sync import ThreadedRefresher
from rds_iam_async.telemetry import otel_events, prometheus_events
from rds_iam_async.testing import LocalAws, LocalRds

from ..prometheus import grouped, selectors
from .workload import RoleSession, one_connect

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
RULES = yaml.safe_load((ROOT / "docs" / "grafana" / "alerts.yml").read_text())
DASHBOARD = json.loads((ROOT / "docs" / "grafana" / "dashboard.json").read_text())
OF_PROMETHEUS = {"instance", "job", "le"}
"""Labels that a scrape adds, and a histogram's own."""


@pytest.fixture
def app() -> ModuleType:
    """The example, imported anew."""
    spec = importlib.util.spec_from_file_location("metrics_app", ROOT / "examples/metrics_app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


Series = dict[str, dict[frozenset[tuple[str, str]], float]]


def read(exposition: str) -> Series:
    series: Series = {}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            labels = frozenset(sample.labels.items())
            series.setdefault(sample.name, {})[labels] = sample.value
    return series


@pytest.fixture
async def scraped(app: ModuleType, aws: LocalAws, rds: LocalRds) -> Series:
    """What the app exposes after some connects, a refused token, and an outage of AWS."""
    aws.lifetime = 3
    with aws.installed("web-identity"), pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_MAX_ATTEMPTS": "1",
            "AWS_REGION": rds.region,
            "DATABASE_URL": rds.url,
            "RDS_IAM_CA_FILE": rds.ca_file,
        }.items():
            patch.setenv(name, value)
        async with app.lifespan(app.app):
            transport = httpx.ASGITransport(app.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
                assert (await client.get("/now")).status_code == 200
                await app.app.state.engine.dispose()
                rds.refuse(1)
                assert (await client.get("/now")).status_code == 200
                aws.failure = "500"
                async with asyncio.timeout(45):
                    while (await client.get("/now")).status_code == 200:
                        await app.app.state.engine.dispose()
                answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    return read(answer.text)


def queries() -> dict[str, str]:
    """Return every PromQL expression there is, by where it stands."""
    found = {rule["alert"]: rule["expr"] for g in RULES["groups"] for rule in g["rules"]}
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            where = f"{panel['title']} {target['refId']}"
            found[where] = (
                target["expr"].replace("$__rate_interval", "5m").replace("$__range", "6h")
            )
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            metric, label = variable["definition"].removeprefix("label_values(")[:-1].split(", ")
            found[f"${variable['name']}"] = f"sum by ({label}) ({metric})"
    return found


@pytest.mark.timeout(120)  # keys of a process that imports the SDK first, and their end
async def test_a_running_app_exposes_the_truth_and_all_that_is_asked_for(
    scraped: Series, rds: LocalRds
) -> None:
    """By dashboard and alerts: each metric by its name, each label matched or grouped by."""
    check_truth(scraped, rds)
    known = {name: {n for labels in found for n, _ in labels} for name, found in scraped.items()}
    asked: set[str] = set()
    for where, query in queries().items():
        assert selectors(query), where
        for metric, labels in selectors(query):
            assert metric in known, f"{where}: {metric}"
            assert labels | grouped(query) <= known[metric] | OF_PROMETHEUS, f"{where}: {metric}"
            asked.add(metric)
    parts = ("_created", "_sum", "_count", "_bucket")
    assert {name for name in known if not name.endswith(parts)} <= asked


def check_truth(scraped: Series, rds: LocalRds) -> None:
    """Compare it with the login log of the server, and with the outage that was made."""
    endpoint = {
        ("server_address", rds.host),
        ("server_port", str(rds.port)),
        ("user_name", rds.user),
        ("cloud_region", rds.region),
    }
    of_endpoint = frozenset(endpoint)
    # One was made; on a machine that pauses a token may come late by itself.
    denied = [login.outcome for login in rds.log].count("denied")
    assert denied >= 1
    assert scraped["rds_iam_token_rejections_total"] == {of_endpoint: denied}
    assert scraped["rds_iam_token_mints_total"][of_endpoint] >= 2
    assert scraped["rds_iam_token_usable_time_seconds"] == {of_endpoint: 0.0}
    for metric in ("rds_iam_token_mint_failures_total", "rds_iam_cold_connects_total"):
        reasons = {dict(labels)["error_type"] for labels in scraped[metric]}
        assert "server_error" in reasons <= {"", "server_error"}
    looks = scraped["rds_iam_credential_resolution_duration_seconds_count"]
    assert {dict(labels)["rds_iam_credential_provider"] for labels in looks} == {
        "assume-role-with-web-identity"
    }


async def test_opentelemetry_measures_a_running_refresher(
    rds: LocalRds, fresh_connects: AsyncEngine
) -> None:
    """By the SDK's own reader: what is exported is what happened, the gauge as of now."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    observe = otel_events(provider.get_meter("rds_iam_async"))
    keys = RoleSession(rds)
    async with TokenRefresher(
        fresh_connects, credentials=keys, ca_file=rds.ca_file, region=rds.region, observe=observe
    ) as refresher:
        rds.refuse(1)
        await one_connect(fresh_connects)
        points = exported(reader)
        [usable] = points["rds_iam.token.usable_time"]
        (state,) = refresher.status().endpoints
    assert state.usable_for <= usable.value <= 870
    assert dict(usable.attributes) == {
        "server.address": rds.host,
        "server.port": rds.port,
        "user.name": rds.user,
        "cloud.region": rds.region,
    }
    assert [point.value for point in points["rds_iam.token.mints"]] == [state.mints]
    assert [point.value for point in points["rds_iam.token.rejections"]] == [1]
    [looks] = points["rds_iam.credential.resolution.duration"]
    assert (looks.count, dict(looks.attributes)) == (
        len(keys.issued),
        {"rds_iam.credential.provider": "role-session"},
    )
    assert "rds_iam.token.usable_time" not in exported(reader)  # closed: nothing is promised
    provider.shutdown()


def exported(reader: InMemoryMetricReader) -> dict[str, list[Any]]:
    data = reader.get_metrics_data()
    assert data is not None
    return {
        metric.name: list(metric.data.data_points)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if list(metric.data.data_points)
    }


def test_a_sync_engine_is_measured_from_its_threads(rds: LocalRds) -> None:
    """Events come from the refresher's thread and from those that connect."""
    registry = CollectorRegistry()
    url = rds.url.replace("asyncpg", "psycopg2")
    engine = create_engine(url, poolclass=NullPool)
    refresher = ThreadedRefresher(
        engine,
        credentials=RoleSession(rds),
        ca_file=rds.ca_file,
        region=rds.region,
        observe=prometheus_events(registry),
    )
    with refresher:
        rds.refuse(1)
        with engine.connect() as connection:
            assert connection.execute(text("select 1")).scalar_one() == 1
        families = {family.name: family for family in registry.collect()}
        assert 0 < families["rds_iam_token_usable_time_seconds"].samples[0].value <= 870
    assert families["rds_iam_token_mints"].samples[0].value == 2
    assert families["rds_iam_token_rejections"].samples[0].value == 1
    engine.dispose()
