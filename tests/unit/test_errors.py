"""Errors say what to do, survive a process boundary, and form the tree that is drawn."""

from __future__ import annotations

import pickle

import pytest

import rds_iam_async
from rds_iam_async import (
    ConfigurationError,
    CredentialsError,
    MintError,
    RdsIamError,
    TokenUnavailableError,
)

TREE = [
    (ConfigurationError, RdsIamError),
    (MintError, RdsIamError),
    (CredentialsError, MintError),
    (TokenUnavailableError, RdsIamError),
]


@pytest.mark.parametrize(("child", "parent"), TREE)
def test_the_tree_is_the_one_that_is_drawn(
    child: type[RdsIamError], parent: type[RdsIamError]
) -> None:
    """Callers catch by what they can do about it."""
    assert child.__bases__ == (parent,)
    assert getattr(rds_iam_async, child.__name__) is child


@pytest.mark.parametrize("kind", [RdsIamError, *(child for child, _ in TREE)])
def test_every_error_has_a_hint_and_survives_pickling(kind: type[RdsIamError]) -> None:
    """multiprocessing and Celery carry errors home by pickle."""
    plain, told = kind("it broke"), kind("it broke", hint="mend it")
    assert plain.hint
    assert str(told) == "it broke (hint: mend it)"
    copy = pickle.loads(pickle.dumps(told))
    assert (type(copy), str(copy), copy.hint) == (kind, str(told), "mend it")
