"""What is measured is true, the same in both libraries, and told apart by few words."""

from __future__ import annotations

import asyncio
import gc
import re
import subprocess
import sys
import weakref
from typing import Any, get_args

import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.semconv._incubating.attributes import cloud_attributes, user_attributes
from opentelemetry.semconv.attributes import error_attributes, server_attributes
from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from rds_iam_async import Endpoint, MintError, RefreshPolicy, TokenRefresher
from rds_iam_async import telemetry as t
from rds_iam_async._errors import Reason
from rds_iam_async.telemetry import _metrics as m
from rds_iam_async.telemetry._observer import for_refresher
from rds_iam_async.testing import FakeClock

from .conftest import FakeAws
from .test_log_outage import Watched
from .test_telemetry import EVENTS

pytestmark = pytest.mark.anyio

ENDPOINT = Endpoint(host="db", port=5432, user="app", region="eu-west-1")
LABELS = {
    "server_address": "db",
    "server_port": "5432",
    "user_name": "app",
    "cloud_region": "eu-west-1",
}


def of(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels)


def usable(registry: CollectorRegistry, **labels: str) -> float | None:
    return of(registry, "rds_iam_token_usable_time_seconds", **LABELS, **labels)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def observe(registry: CollectorRegistry) -> t.Observer:
    return t.prometheus_events(registry)


# The gauge


async def test_the_gauge_falls_while_nothing_happens(
    registry: CollectorRegistry, observe: t.Observer, aws: FakeAws, clock: FakeClock
) -> None:
    """It is computed when it is scraped: a process that is wedged shows it falling."""
    refresher = TokenRefresher(credentials=aws, clock=clock, observe=observe)
    refresher.password(ENDPOINT)
    assert usable(registry) is None  # not started: nothing is promised
    async with refresher:
        assert usable(registry) == 870
        [task] = [t for t in asyncio.all_tasks() if t.get_name() == "rds_iam_async refresher"]
        task.cancel()
        await clock.advance(700)
        assert usable(registry) == 170
        await clock.advance(200)
        assert usable(registry) == 0
    assert usable(registry) is None  # closed


async def test_the_gauge_is_right_when_the_clock_jumps(
    registry: CollectorRegistry, observe: t.Observer, aws: FakeAws, clock: FakeClock
) -> None:
    """At the next scrape, not at the next mint."""
    refresher = TokenRefresher(credentials=aws, clock=clock, observe=observe)
    refresher.password(ENDPOINT)
    async with refresher:
        await clock.advance(100)
        clock.step(600)
        assert usable(registry) == 170
        clock.step(-1200)
        assert usable(registry) == 0
        await clock.advance(15)
        assert usable(registry) == 860  # minted 5 s after the step
        assert of(registry, "rds_iam_clock_jumps_total") == 1


async def test_of_two_refreshers_of_one_endpoint_the_shorter_time_counts(
    registry: CollectorRegistry, observe: t.Observer, aws: FakeAws, clock: FakeClock
) -> None:
    """One series for each endpoint, or the scrape is no good; and what is forgotten is gone."""
    first = TokenRefresher(credentials=aws, clock=clock, observe=t.all_of(observe))
    second = TokenRefresher(credentials=aws, clock=clock, observe=observe)
    for refresher in (first, second):
        refresher.password(ENDPOINT)
    await first.start()
    await clock.advance(100)
    await second.start()
    assert usable(registry) == 770
    await first.aclose()
    assert usable(registry) == 870
    await second.aclose()
    assert usable(registry) is None
    assert of(registry, "rds_iam_token_mints_total", **LABELS) == 2


def test_an_observer_keeps_no_refresher_alive(observe: t.Observer, clock: FakeClock) -> None:
    """Refreshers that come and go do not pile up in the metrics, nor in the log's memory."""
    watched = Watched(clock)
    there = weakref.ref(watched)
    observers = [for_refresher(every, watched) for every in (t.log_events, observe)]
    del watched
    gc.collect()
    assert there() is None
    assert observers


async def test_of_two_sources_the_more_failures_in_a_row_are_shown(
    registry: CollectorRegistry, observe: t.Observer, aws: FakeAws, clock: FakeClock
) -> None:
    """One series for each provider; from the start to the end, and 0 when a look succeeds."""

    def failures(provider: str) -> float | None:
        name = "rds_iam_credential_consecutive_failures"
        return of(registry, name, rds_iam_credential_provider=provider)

    sources = (aws, FakeAws(clock))
    refreshers = [TokenRefresher(credentials=s, clock=clock, observe=observe) for s in sources]
    for refresher in refreshers:
        refresher.password(ENDPOINT)
    assert failures("") is None
    async with refreshers[0], refreshers[1]:
        assert failures("fake") == 0
        aws.goes_down()
        await clock.advance(2 * 3600)
        shown = max(r.status().endpoints[0].consecutive_failures for r in refreshers)
        assert failures("fake") == shown > 100
        aws.comes_back()
        await clock.advance(16)
        assert failures("fake") == 0
    assert failures("fake") is None


def test_a_forked_worker_that_never_connects_wakes_nobody() -> None:
    """It has no token, and needs none: it shows none until it is asked for one."""
    code = """if True:
        import os
        from prometheus_client import CollectorRegistry, generate_latest
        from rds_iam_async import Credentials, Endpoint
        from rds_iam_async.sync import ThreadedRefresher
        from rds_iam_async.telemetry import prometheus_events

        class Keys:
            async def snapshot(self):
                return Credentials(access_key_id="AKIA", secret_access_key="secret")

        registry = CollectorRegistry()
        refresher = ThreadedRefresher(credentials=Keys(), observe=prometheus_events(registry))
        endpoint = Endpoint(host="db", port=5432, user="app", region="eu-west-1")
        refresher.password(endpoint)

        def shown():
            return "usable_time_seconds{" in generate_latest(registry).decode()

        with refresher:
            assert shown()
            if (child := os.fork()) == 0:
                before = shown()
                refresher.token(endpoint)
                os._exit(0 if (before, shown()) == (False, True) else 1)
            assert os.waitpid(child, 0)[1] == 0
            assert shown()
    """
    subprocess.run([sys.executable, "-c", code], check=True)


# Counting


async def test_each_failed_attempt_is_counted_once_however_many_wait_for_it(
    registry: CollectorRegistry, observe: t.Observer, aws: FakeAws, clock: FakeClock
) -> None:
    """Of mints, attempts; of connects, each."""
    refresher = TokenRefresher(credentials=aws, clock=clock, observe=observe)
    aws.goes_down()
    connects = [asyncio.ensure_future(refresher.token(ENDPOINT)) for _ in range(10)]
    await clock.advance(1)
    for connect in connects:
        with pytest.raises(MintError):
            await connect
    told = {**LABELS, "error_type": "_OTHER"}
    assert of(registry, "rds_iam_token_mint_failures_total", **told) == 1
    assert of(registry, "rds_iam_cold_connects_total", **told) == 10
    name = "rds_iam_credential_resolution_duration_seconds_count"
    labels = {"rds_iam_credential_provider": "", "error_type": "_OTHER"}
    assert of(registry, name, **labels) == 1


async def test_an_outage_is_counted_attempt_by_attempt(
    registry: CollectorRegistry, observe: t.Observer, aws: FakeAws, clock: FakeClock
) -> None:
    """The log leaves repeats out; the metrics do not."""
    refresher = TokenRefresher(credentials=aws, clock=clock, observe=observe)
    refresher.password(ENDPOINT)
    async with refresher:
        aws.goes_down()
        await clock.advance(3 * 3600)
        calls = aws.calls - 1
        looks = {"rds_iam_credential_provider": "fake", "error_type": "_OTHER"}
        name = "rds_iam_credential_resolution_duration_seconds_count"
        assert of(registry, name, **looks) == calls
        mints = of(registry, "rds_iam_token_mint_failures_total", **LABELS, error_type="_OTHER")
        assert mints == refresher.status().endpoints[0].consecutive_failures - (calls - mints)
        assert 100 < mints <= calls


def test_every_reason_and_every_kind_of_event_fits_its_metric(registry: CollectorRegistry) -> None:
    """No value is refused, none goes nowhere, and all labels come from small sets."""
    provider = InMemoryMetricReader()
    meter = MeterProvider([provider]).get_meter("test")
    observe = t.all_of(t.otel_events(meter), t.prometheus_events(registry))
    for event, _, _ in EVENTS:
        observe(event)
    silent = {t.RefresherClosed, t.RefresherRecovered, t.TokensAccepted}
    for event, _, _ in EVENTS:
        assert bool(list(m.measured(event))) == (type(event) not in silent)
    for metric, value, values in [x for event, _, _ in EVENTS for x in m.measured(event)]:
        assert len(values) == len(metric.attributes)
        assert value >= 0
        why = dict(zip(metric.attributes, values, strict=True)).get("error.type", "")
        assert why in ("", *get_args(Reason))


def test_attributes_are_named_as_opentelemetry_names_them() -> None:
    """What has no name there carries ours in front."""
    theirs = {
        server_attributes.SERVER_ADDRESS,
        server_attributes.SERVER_PORT,
        user_attributes.USER_NAME,
        cloud_attributes.CLOUD_REGION,
        error_attributes.ERROR_TYPE,
    }
    metrics = (*m.COUNTERS, *m.HISTOGRAMS, *m.GAUGES)
    used = {name for metric in metrics for name in metric.attributes}
    assert {name for name in used if not name.startswith("rds_iam.")} == theirs
    assert all(metric.name.startswith("rds_iam.") for metric in metrics)
    assert all(metric.unit == "s" or re.fullmatch(r"\{[a-z]+\}", metric.unit) for metric in metrics)


def series(exposition: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """What an exposition says of ours, without what OpenTelemetry says of itself."""
    return {
        (
            sample.name,
            frozenset((n, v) for n, v in sample.labels.items() if v and "otel" not in n),
        ): (sample.value)
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
        if sample.name.startswith("rds_iam_") and not sample.name.endswith("_created")
    }


async def test_both_libraries_say_the_same_to_prometheus(
    registry: CollectorRegistry, observe: t.Observer, aws: FakeAws, clock: FakeClock
) -> None:
    """Names, labels, buckets and values: one dashboard serves both."""
    theirs = CollectorRegistry()
    provider = MeterProvider([PrometheusMetricReader(registry=theirs)])
    both = t.all_of(t.otel_events(provider.get_meter("rds_iam_async")), observe)
    refresher = TokenRefresher(
        credentials=aws, clock=clock, observe=both, policy=RefreshPolicy(spread=0)
    )
    refresher.password(ENDPOINT)
    async with refresher:
        await clock.advance(700)
        clock.suspend(1200)
        await refresher.token(ENDPOINT)
        aws.goes_down()
        await clock.advance(2 * 3600)
        with pytest.raises(MintError):
            await asyncio.gather(refresher.token(ENDPOINT), clock.advance(1))
        ours = series(generate_latest(registry).decode())
        otel = series(generate_latest(theirs).decode())
        # A counter that was never added to is 0 here and nothing there.
        assert {key for key, value in ours.items() if value and key not in otel} == set()
        assert {key: ours.get(key) for key in otel} == otel
        assert len(otel) > 30
    provider.shutdown()


# The price, and what is not there


async def test_ten_thousand_endpoints_are_scraped_in_no_time(
    registry: CollectorRegistry, observe: t.Observer, aws: FakeAws, clock: FakeClock
) -> None:
    """Two series for each, and no histogram."""
    refresher = TokenRefresher(credentials=aws, clock=clock, observe=observe)
    for number in range(10_000):
        refresher.password(Endpoint(host="db", port=5432, user=f"u{number}", region="eu-west-1"))
    async with refresher:
        families = list(registry.collect())
    counts = {family.name: len(family.samples) for family in families}
    assert counts["rds_iam_token_usable_time_seconds"] == 10_000
    assert counts["rds_iam_token_mints"] == 20_000  # with the client's own `_created`
    assert sum(counts.values()) < 30_100


def test_a_missing_library_is_named_with_its_extra() -> None:
    """When the listener is made, not when the first thing happens."""
    code = (
        "import sys\n"
        "sys.modules['opentelemetry'] = sys.modules['prometheus_client'] = None\n"
        "from rds_iam_async import ConfigurationError, telemetry\n"
        "for make in (telemetry.otel_events, telemetry.prometheus_events):\n"
        "    try:\n"
        "        make()\n"
        "    except ConfigurationError as error:\n"
        "        print(error.hint)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    hints = "pip install 'rds-iam-async[otel]'\npip install 'rds-iam-async[prometheus]'\n"
    assert (run.stdout, run.stderr) == (hints, "")


def meter_of(readers: list[InMemoryMetricReader]) -> Any:
    readers.append(InMemoryMetricReader())
    return MeterProvider(readers[-1:]).get_meter("rds_iam_async")


def test_what_has_no_attributes_is_counted_from_zero() -> None:
    """`increase` sees nothing of a series that begins with the first crash."""
    registry = CollectorRegistry()
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader]).get_meter("app")
    observe = t.all_of(t.otel_events(meter), t.prometheus_events(registry))
    TokenRefresher(observe=observe)
    data: Any = reader.get_metrics_data()
    metrics = data.resource_metrics[0].scope_metrics[0].metrics
    counted = {
        metric.name: [point.value for point in metric.data.data_points] for metric in metrics
    }
    assert counted == {"rds_iam.refresher.restarts": [0], "rds_iam.clock.jumps": [0]}
    assert of(registry, "rds_iam_refresher_restarts_total") == 0


@pytest.mark.parametrize("make", [t.prometheus_events, t.otel_events])
def test_asked_again_for_a_place_a_listener_is_the_same(make: Any) -> None:
    """An app that is made twice counts once and keeps its gauges; another place is another one."""
    readers: list[InMemoryMetricReader] = []
    otel = make is t.otel_events
    first, second = (meter_of(readers) if otel else CollectorRegistry() for _ in range(2))
    assert make(first) is make(first)
    assert make(first) is not make(second)


async def test_two_refreshers_with_a_listener_each_have_their_gauges(
    aws: FakeAws, clock: FakeClock
) -> None:
    """OpenTelemetry's SDK drops the second gauge of a name, without a word."""
    readers: list[InMemoryMetricReader] = []
    meter = meter_of(readers)
    hosts = ["one", "two"]
    refreshers = [
        TokenRefresher(credentials=aws, clock=clock, observe=t.otel_events(meter)) for _ in hosts
    ]
    for host, refresher in zip(hosts, refreshers, strict=True):
        refresher.password(Endpoint(host=host, port=5432, user="app", region="eu-west-1"))
    async with refreshers[0], refreshers[1]:
        data = readers[0].get_metrics_data()
        assert data is not None
        shown = {
            point.attributes["server.address"]
            for metric in data.resource_metrics[0].scope_metrics[0].metrics
            if metric.name == "rds_iam.token.usable_time"
            for point in metric.data.data_points
        }
    assert shown == set(hosts)


def test_one_listener_of_opentelemetry_s_global_provider() -> None:
    """Also if it was made before the provider was set, as at import."""
    code = (
        "from opentelemetry import metrics\n"
        "from opentelemetry.sdk.metrics import MeterProvider\n"
        "from rds_iam_async.telemetry import otel_events\n"
        "early = otel_events()\n"
        "metrics.set_meter_provider(MeterProvider())\n"
        "assert otel_events() is early\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_listener_goes_with_its_registry() -> None:
    """Nothing of ours keeps it: a test suite makes thousands."""
    registry = CollectorRegistry()
    gone = weakref.ref(t.prometheus_events(registry))
    del registry
    gc.collect()
    assert gone() is None


def test_metrics_of_these_names_from_elsewhere_are_refused(registry: CollectorRegistry) -> None:
    """By the client, which says which."""
    Counter("rds_iam_token_mints", "somebody else's", registry=registry)
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        t.prometheus_events(registry)
