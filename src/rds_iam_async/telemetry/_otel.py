"""The listener that measures with OpenTelemetry. Needs the extra `otel`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from .._errors import ConfigurationError
from ._events import Event
from ._metrics import COUNTERS, GAUGES, HISTOGRAMS, Metric, gauged, measured
from ._observer import Observer, maker
from ._watching import Watched, Watching

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Meter, Observation


@maker
def otel_events(meter: Meter | None = None) -> Observer:
    """Return the observer that measures with *meter*: one for all your refreshers.

    Asked again for the same meter it returns the same one: a second gauge of a name would
    never be asked.

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
    key = 0 if meter is None else id(meter)  # the global provider is set once at most
    observer = _made.get(key)
    if observer is None:
        meter = meter or metrics.get_meter("rds_iam_async")
        observer = _made[key] = _Otel(meter, metrics.Observation)
    return observer


class _Otel:
    def __init__(self, meter: Meter, observation: type[Observation]) -> None:
        self._meter = meter  # for as long as this is there, its id is its own
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
        for metric, counter in self._counters.items():
            if not metric.attributes:
                # As Prometheus's client does: of a series that begins with the first crash
                # `increase` sees none.
                counter.add(0)
        return self

    def _computed(self, metric: Metric, options: CallbackOptions) -> Iterable[Observation]:
        for _, value, values in gauged(metric, self._watching):
            yield self._observation(value, _attributes(metric, values))


def _attributes(metric: Metric, values: tuple[str | int, ...]) -> dict[str, str | int]:
    pairs = zip(metric.attributes, values, strict=True)
    return {name: value for name, value in pairs if value != ""}


_made: WeakValueDictionary[int, _Otel] = WeakValueDictionary()
"""By meter, whose gauges keep them."""
