"""`python -m rds_iam_async._cli` is the command, too."""

from . import main

main()
