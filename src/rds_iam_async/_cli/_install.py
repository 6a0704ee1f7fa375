"""What to type where a package is missing."""

INSTALL = "pip install 'rds-iam-async[cli,local]'"
