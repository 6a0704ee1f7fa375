"""A database on this machine that authenticates as RDS does, to try and test against.

Needs the extra `local`: `pip install 'rds-iam-async[local]'`.
"""

from ._fake_clock import FakeClock
from ._local_rds import LocalRds
from ._login_log import Login, LoginLog

__all__ = ["FakeClock", "LocalRds", "Login", "LoginLog"]
