"""IAM authentication for async SQLAlchemy at the price of a static password."""
