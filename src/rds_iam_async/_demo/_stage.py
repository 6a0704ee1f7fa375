"""What is going on at the moment: written by the run, read by the screen."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from ._figures import Figures, Report, percentile

TOKEN_LIFETIME = 4.0
"""How long the local RDS accepts a token, in seconds, so that several pass in a short run."""

_CYCLE = 3.0
"""About how long a round of ours and one of the usual way take together, in seconds."""

_ERRORS_KEPT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do.

    Attributes:
        seconds: How long to open connections, both ways together.
        workers: How many do so at the same time.
        refused: How many tokens the local RDS refuses unread, to see what failure looks like.
    """

    seconds: float = 20.0
    workers: int = 4
    refused: int = 0

    def rounds(self) -> list[tuple[float, float]]:
        """Return the rounds: seconds of ours, and half as many of the usual way.

        They alternate so that whatever else the machine does falls on both.
        """
        count = max(1, round(self.seconds / _CYCLE))
        share = self.seconds / count / 3
        return [(2 * share, share)] * count


@dataclass(slots=True)
class Tally:
    """What has been counted so far of one way; the names are those of `Figures`."""

    connects: int = 0
    failures: int = 0
    refused_attempts: int = 0
    plaintext_attempts: int = 0
    minted: int = 0
    minted_at: float = 0.0
    signed_on_connect_path: int = 0
    waited: float | None = 0.0
    latencies: list[float] = field(default_factory=list[float])
    errors: list[str] = field(default_factory=list[str])
    past: float = 0.0
    round_began: float | None = None
    round_start: int = 0
    round_medians: list[float] = field(default_factory=list[float])

    @property
    def seconds(self) -> float:
        """For how long connections have been opened, the round under way included."""
        running = 0.0 if self.round_began is None else time.perf_counter() - self.round_began
        return self.past + running

    def begin_round(self) -> None:
        """Start the clock."""
        self.round_start = len(self.latencies)
        self.round_began = time.perf_counter()

    def end_round(self) -> None:
        """Stop the clock."""
        self.past, self.round_began = self.seconds, None
        median = percentile(self.latencies[self.round_start :], 50)
        if median is not None:
            self.round_medians.append(median)

    def note_signature(self, *, waited: float | None) -> None:
        """Count a connection that signed or waited for it, `None` for who knows how long."""
        self.signed_on_connect_path += 1
        if self.waited is not None:
            self.waited = None if waited is None else self.waited + waited

    def fail(self, error: Exception) -> None:
        """Count a failure, and keep its first line if it says something new."""
        self.failures += 1
        text = f"{type(error).__name__}: {error}".splitlines()[0]
        if text not in self.errors and len(self.errors) < _ERRORS_KEPT:
            self.errors.append(text)

    def figures(self) -> Figures:
        """Return what stands here now as facts."""
        return Figures(
            connects=self.connects,
            failures=self.failures,
            refused_attempts=self.refused_attempts,
            plaintext_attempts=self.plaintext_attempts,
            minted=self.minted,
            signed_on_connect_path=self.signed_on_connect_path,
            waited=self.waited,
            seconds=self.seconds,
            latencies=tuple(self.latencies),
            round_medians=tuple(self.round_medians),
            errors=tuple(self.errors),
        )


@dataclass(slots=True)
class Stage:
    """One run, as far as it has come."""

    plan: Plan
    ours: Tally = field(default_factory=Tally)
    usual: Tally = field(default_factory=Tally)

    @property
    def elapsed(self) -> float:
        """Seconds of connecting that are over, at most those planned."""
        return min(self.plan.seconds, self.ours.seconds + self.usual.seconds)

    def report(self) -> Report:
        """Return what has been found out."""
        return Report(
            workers=self.plan.workers,
            token_lifetime=TOKEN_LIFETIME,
            ours=self.ours.figures(),
            usual=self.usual.figures(),
        )
