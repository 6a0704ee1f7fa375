"""A database on this machine that authenticates as RDS does, to try and test against.

And, with `LocalAws`, all that gives a process its AWS keys.

Needs the extra `local`: `pip install 'rds-iam-async[local]'`.
"""

from ._call_log import Call, CallLog
from ._fake_clock import FakeClock
from ._local_aws import LocalAws
from ._local_rds import LocalRds
from ._login_log import Login, LoginLog

__all__ = ["Call", "CallLog", "FakeClock", "LocalAws", "LocalRds", "Login", "LoginLog"]
