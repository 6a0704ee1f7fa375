"""The one logger of this library."""

import logging

logger = logging.getLogger("rds_iam_async")
