"""The listener that measures with the Prometheus client. Needs the extra `prometheus`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from .._errors import ConfigurationError
from ._events import Event
from ._metrics import COUNTERS, GAUGES, HISTOGRAMS, Metric, gauged, measured
from ._observer import Observer, maker
from ._watching import Watched, Watching

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter, Histogram
    from prometheus_client.core import GaugeMetricFamily


@maker
def prometheus_events(registry: CollectorRegistry | None = None) -> Observer:
    """Return the observer that measures into *registry*: one for all your refreshers.

    Asked again for the same registry it returns the same one, so that an app may be made
    twice in one process.

    Args:
        registry: Where to register the metrics; `None` for the client's own `REGISTRY`.

    Raises:
        ConfigurationError: When the Prometheus client is not installed.
        ValueError: When the registry has metrics of these names from elsewhere.
    """
    try:
        import prometheus_client as prometheus
        from prometheus_client.core import GaugeMetricFamily
    except ImportError as error:
        raise ConfigurationError(
            "prometheus_events needs prometheus-client",
            hint="pip install 'rds-iam-async[prometheus]'",
        ) from error
    place = registry or prometheus.REGISTRY
    if (made := _made.get(id(place))) is not None:
        return made
    counters = {
        metric: prometheus.Counter(*_described(metric), registry=place) for metric in COUNTERS
    }
    histograms = {
        metric: prometheus.Histogram(*_described(metric), registry=place, buckets=metric.buckets)
        for metric in HISTOGRAMS
    }
    observer = _Prometheus(place, counters, histograms, GaugeMetricFamily)
    place.register(observer)
    _made[id(place)] = observer
    return observer


class _Prometheus:
    def __init__(
        self,
        registry: CollectorRegistry,
        counters: dict[Metric, Counter],
        histograms: dict[Metric, Histogram],
        family: Callable[..., GaugeMetricFamily],
    ) -> None:
        self._registry = registry  # for as long as this is there, its id is its own
        self._counters = counters
        self._histograms = histograms
        self._family = family
        self._watching = Watching()

    def __call__(self, event: Event) -> None:
        for metric, value, values in measured(event):
            if (counter := self._counters.get(metric)) is not None:
                (counter.labels(*values) if values else counter).inc(value)
            else:
                histogram = self._histograms[metric]
                (histogram.labels(*values) if values else histogram).observe(value)

    def for_refresher(self, watched: Watched) -> Observer:
        self._watching.add(watched)
        return self

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Name the gauges, without which registering would compute them."""
        for metric in GAUGES:
            yield self._family(*_described(metric)[:2])

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Compute the gauges, at each scrape."""
        for metric in GAUGES:
            name, text, labels = _described(metric)
            gauge = self._family(name, text, labels=labels)
            for _, value, values in gauged(metric, self._watching):
                gauge.add_metric([str(label) for label in values], value)
            yield gauge


def _described(metric: Metric) -> tuple[str, str, list[str]]:
    name = prometheus_name(metric)
    return name, metric.text, [attribute.replace(".", "_") for attribute in metric.attributes]


def prometheus_name(metric: Metric) -> str:
    """Return the name that OpenTelemetry's mapping gives *metric*, without `_total`.

    Source:
        https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/
    """
    return metric.name.replace(".", "_") + ("_seconds" if metric.unit == "s" else "")


_made: WeakValueDictionary[int, _Prometheus] = WeakValueDictionary()
"""By registry, which keeps them."""
