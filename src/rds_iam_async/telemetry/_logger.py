"""The one logger of this library."""

import logging

logger: logging.Logger = logging.getLogger("rds_iam_async")
