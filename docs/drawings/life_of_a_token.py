"""Draw the life of a token, by the very functions that decide it.

    python docs/drawings/life_of_a_token.py

It writes `life_of_a_token.svg` beside itself. `tests/docs/test_drawing.py` says when that has
to be done again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rds_iam_async import Credentials, Endpoint, RefreshPolicy, Token
from rds_iam_async._schedule import credentials_due_at, successor_window, usable_until

PICTURE = Path(__file__).with_suffix(".svg")

POLICY = RefreshPolicy()
HOUR = 3600.0
EARLY = 420.0

INK, FAINT, CARD = "#24292f", "#6e7781", "#ffffff"
KEYS, TOKEN, MARGIN, DUE, SLACK = "#98710f", "#1f6f8b", "#9cc9d6", "#d1495b", "#f3d9dc"
LEFT, RIGHT = 0.0, 1500.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """What becomes of the first token and of its successor, in seconds after the first.

    Attributes:
        keys_end: When the keys that signed it end.
        look_from: When keys are looked for again at the earliest.
        look_by: And at the latest.
        due_from: When a successor is minted at the earliest.
        due_by: And at the latest.
        until: When the first is handed out for the last time.
        end: When RDS refuses it.
        next_at: When the picture's successor is minted, in the middle between these.
        next_until: When that is handed out for the last time.
        next_end: When RDS refuses that.
    """

    keys_end: float
    look_from: float
    look_by: float
    due_from: float
    due_by: float
    until: float
    end: float
    next_at: float
    next_until: float
    next_end: float


def life(keys_end: float) -> Life:
    """Return what happens with keys that end *keys_end* seconds after the first token."""
    keys = Credentials(access_key_id="A", secret_access_key="S", expires_at=keys_end)  # noqa: S106
    first = _token(0.0, min(POLICY.lifetime, keys_end))
    middle = successor_window(first, POLICY).at(0.5)
    successor = _token(middle, middle + POLICY.lifetime)
    return Life(
        keys_end=keys_end,
        look_from=credentials_due_at(keys, 0.0, POLICY, draw=1.0),
        look_by=credentials_due_at(keys, 0.0, POLICY, draw=0.0),
        due_from=successor_window(first, POLICY).at(1.0),
        due_by=successor_window(first, POLICY).at(0.0),
        until=usable_until(first, POLICY),
        end=first.expires_at,
        next_at=middle,
        next_until=usable_until(successor, POLICY),
        next_end=successor.expires_at,
    )


def _token(minted_at: float, expires_at: float) -> Token:
    endpoint = Endpoint(host="db", port=5432, user="app", region="eu-west-1")
    times = {"minted_at": minted_at, "expires_at": expires_at}
    return Token(endpoint=endpoint, password="…", **times)  # noqa: S106


def words(now: Life) -> dict[str, str]:
    """Return what the picture says of one life, by where it says it."""
    return {
        "keys": f"looked for again from {now.look_from:.0f} to {now.look_by:.0f} s, which leaves "
        f"AWS {now.keys_end - now.look_by:.0f} s or more to answer",
        "due": f"successor minted from {now.due_from:.0f} to {now.due_by:.0f} s",
        "end": f"handed out until {now.until:.0f} s, refused from {now.end:.0f} s",
        "next": f"minted at {now.next_at:.0f} s, handed out until {now.next_until:.0f} s",
    }


TITLES = {
    HOUR: "Keys good for an hour: a token lives for as long as RDS lets it",
    EARLY: "Keys good for 7 minutes: the token ends with them, and all comes sooner",
}


def draw(path: Path) -> None:
    """Write the picture."""
    import matplotlib as mpl

    mpl.use("svg")
    # Text stays text, for readers, searches and the test; the same picture each time.
    mpl.rcParams.update(
        {"svg.fonttype": "none", "svg.hashsalt": "life", "font.size": 9, "text.color": INK}
    )
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(2, 1, figsize=(9.2, 7.4), facecolor=CARD)
    for panel, keys_end in zip(panels, TITLES, strict=True):
        _draw_life(panel, life(keys_end), TITLES[keys_end])
    panels[1].set_xlabel("minutes since the first token was signed", color=FAINT)
    figure.tight_layout(h_pad=2.0)
    figure.savefig(path, metadata={"Date": None, "Creator": None}, facecolor=CARD)


def _draw_life(panel: Any, now: Life, title: str) -> None:
    said = words(now)
    panel.set_title(title, loc="left", fontsize=11, color=INK, pad=10)
    panel.set_xlim(LEFT, RIGHT)
    panel.set_ylim(-0.75, 3.7)
    panel.set_xticks(range(0, 1501, 300), [f"{n} min" for n in range(0, 26, 5)], color=FAINT)
    panel.set_yticks(
        [3, 2, 1, 0], ["AWS keys", "first token", "second token", "a connection gets"], color=INK
    )
    panel.tick_params(length=0)
    for side in ("top", "right", "left"):
        panel.spines[side].set_visible(False)
    panel.spines["bottom"].set_color("#d0d7de")

    if now.keys_end < RIGHT:
        panel.axvspan(now.look_by, now.keys_end, ymin=0.02, ymax=0.9, color=SLACK, lw=0, zorder=0)
        _bar(panel, 2.87, LEFT, now.keys_end, KEYS, height=0.2)
        _bar(panel, 3.13, now.look_by, RIGHT, KEYS, height=0.2)
    else:
        _bar(panel, 3, LEFT, RIGHT, KEYS)
    panel.text(12, 3.42, said["keys"], color=KEYS, va="center")

    _bar(panel, 2, LEFT, now.until, TOKEN)
    _bar(panel, 2, now.until, now.end, MARGIN)
    panel.text(now.end + 8, 2, said["end"], color=FAINT, va="center")
    _bar(panel, 2, now.due_from, now.due_by, DUE, height=0.62)
    panel.text(now.due_by + 8, 1.52, said["due"], color=DUE, va="center")

    _bar(panel, 1, now.next_at, min(now.next_until, RIGHT), TOKEN)
    _bar(panel, 1, now.next_until, min(now.next_end, RIGHT), MARGIN)
    panel.text(now.next_at + 12, 1, said["next"], color=CARD, va="center")

    _bar(panel, 0, LEFT, now.next_at, TOKEN, height=0.18)
    _bar(panel, 0, now.next_at, min(now.next_until, RIGHT), TOKEN, height=0.18)
    panel.plot([now.next_at] * 2, [-0.3, 1.2], color=CARD, lw=2.5)
    panel.plot([now.next_at] * 2, [-0.3, 0.78], color=INK, lw=0.8, ls=":")
    panel.text(now.next_at / 2, -0.4, "the first", ha="center", color=INK)
    panel.text((now.next_at + now.next_until) / 2, -0.4, "the second", ha="center", color=INK)


def _bar(
    panel: Any, row: float, begin: float, end: float, color: str, *, height: float = 0.4
) -> None:
    if end > begin:
        panel.barh(row, end - begin, left=begin, height=height, color=color, lw=0)


if __name__ == "__main__":
    draw(PICTURE)
