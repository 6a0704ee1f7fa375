"""The demo: connections opened while tokens rotate, beside the usual way of doing it."""

from ._figures import Figures, Report
from ._run import run
from ._screen import shown
from ._stage import Plan, Stage
from ._summary import save_picture, summary

__all__ = ["Figures", "Plan", "Report", "Stage", "run", "save_picture", "shown", "summary"]
