"""The listener that measures with OpenTelemetry. Needs the extra `otel`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from .._errors import ConfigurationError
from ._events import Event
from ._metrics import COUNTERS, GAUGES, HISTOGRAMS, Metric, gauged, measured
from ._observer import Observer, Watched, Watching

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Meter, Observation


def otel_events(meter: Meter | None = None) -> Observer:
    """Return an observer that measures with *meter*; give one to all your refreshers.

    Args:
        meter: Where to make the instruments; `None` for the one of this library's name at
            the global provider.

    Raises:
        ConfigurationError: When OpenTelemetry's API is not installed.
    """
    try:
        from opentelemetry import metrics
    except ImportError as error:
        raise ConfigurationError(
            "otel_events needs opentelemetry-api", hint="pip install 'rds-iam-async[otel]'"
        ) from error
    return _Otel(meter or metrics.get_meter("rds_iam_async"), metrics.Observation)


class _Otel:
    def __init__(self, meter: Meter, observation: type[Observation]) -> None:
        self._observation = observation
        self._watching = Watching()
        self._counters = {
            metric: meter.create_counter(metric.name, metric.unit, metric.text)
            for metric in COUNTERS
        }
        self._histograms = {
            metric: meter.create_histogram(
                metric.name,
                metric.unit,
                metric.text,
                explicit_bucket_boundaries_advisory=metric.buckets,
            )
            for metric in HISTOGRAMS
        }
        for metric in GAUGES:
            compute = partial(self._computed, metric)
            meter.create_observable_gauge(metric.name, [compute], metric.unit, metric.text)

    def __call__(self, event: Event) -> None:
        for metric, value, values in measured(event):
            attributes = _attributes(metric, values)
            if metric in self._counters:
                self._counters[metric].add(value, attributes)
            else:
                self._histograms[metric].record(value, attributes)

    def for_refresher(self, watched: Watched) -> Observer:
        self._watching.add(watched)
        return self

    def _computed(self, metric: Metric, options: CallbackOptions) -> Iterable[Observation]:
        for _, value, values in gauged(metric, self._watching):
            yield self._observation(value, _attributes(metric, values))


def _attributes(metric: Metric, values: tuple[str | int, ...]) -> dict[str, str | int]:
    pairs = zip(metric.attributes, values, strict=True)
    return {name: value for name, value in pairs if value != ""}
