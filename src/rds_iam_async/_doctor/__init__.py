"""The doctor: what a login needs, checked one after another, so that the first ✗ is the cause."""

from ._finding import Cause, Diagnosis, Finding
from ._run import examine
from ._screen import shown
from ._subject import Subject, subject_of

__all__ = [
    "Cause",
    "Diagnosis",
    "Finding",
    "Subject",
    "examine",
    "shown",
    "subject_of",
]
