"""What came of a run, as facts: the figures of each way, and the two side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


def percentile(values: Sequence[float], percent: int) -> float | None:
    """Return the smallest of *values* that *percent* of them do not exceed (nearest rank).

    Args:
        values: In any order.
        percent: From 0, the smallest, to 100, the largest.

    Returns:
        One of *values*, never something between two; `None` when there are none.
    """
    if not values:
        return None
    # Whole numbers: 0.07 * 100 is 7.000000000000001, and its ceiling 8.
    rank = max(1, -(-percent * len(values) // 100))
    return sorted(values)[rank - 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one way of connecting did.

    Attributes:
        connects: Connections that were tried.
        failures: Those that ended in an exception, of whatever kind.
        refused_attempts: Logins that the gate refused, also where a second try succeeded.
        plaintext_attempts: Logins that came without TLS.
        minted: Tokens signed.
        signed_on_connect_path: Connections that signed a token, or waited for one.
        waited: How long they did, all together, in seconds; `None` when that is not known.
        seconds: For how long connections were opened this way.
        latencies: Of each connection, from asking for it to holding it, in seconds. The
            first few are left out: there modules are imported and caches filled.
        round_medians: Of each round's latencies, in seconds.
        errors: What the first few failures said.
    """

    connects: int
    failures: int
    refused_attempts: int
    plaintext_attempts: int
    minted: int
    signed_on_connect_path: int
    waited: float | None
    seconds: float
    latencies: tuple[float, ...] = field(repr=False)
    round_medians: tuple[float, ...] = ()
    errors: tuple[str, ...] = ()

    @property
    def connects_per_second(self) -> float | None:
        """Connections that were opened in each second; `None` before any time has passed."""
        return len(self.latencies) / self.seconds if self.seconds else None

    def latency_ms(self, percent: int) -> float | None:
        """Return this percentile of the latencies in milliseconds, `None` without any."""
        value = percentile(self.latencies, percent)
        return None if value is None else value * 1000

    def to_dict(self) -> dict[str, Any]:
        """Return it as a dictionary that JSON can take, latencies summed up."""
        return {
            "connects": self.connects,
            "failures": self.failures,
            "refused_attempts": self.refused_attempts,
            "plaintext_attempts": self.plaintext_attempts,
            "minted": self.minted,
            "signed_on_connect_path": self.signed_on_connect_path,
            "waited_for_signature_ms": _rounded(
                None if self.waited is None else self.waited * 1000
            ),
            "seconds": round(self.seconds, 3),
            "connects_per_second": _rounded(self.connects_per_second),
            "latency_ms": {
                "p50": _rounded(self.latency_ms(50)),
                "p90": _rounded(self.latency_ms(90)),
                "p99": _rounded(self.latency_ms(99)),
                "max": _rounded(self.latency_ms(100)),
            },
            "errors": list(self.errors),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Both ways, measured in one run.

    Attributes:
        workers: How many opened connections at the same time.
        token_lifetime: How long the server accepted a token, in seconds.
        ours: With this library.
        usual: Signing in `do_connect`.
    """

    workers: int
    token_lifetime: float
    ours: Figures
    usual: Figures

    def to_dict(self) -> dict[str, Any]:
        """Return it as a dictionary that JSON can take: ours, and the usual way within."""
        return {
            "duration": round(self.ours.seconds + self.usual.seconds, 3),
            "workers": self.workers,
            "token_lifetime": self.token_lifetime,
            **self.ours.to_dict(),
            "usual_way": self.usual.to_dict(),
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
