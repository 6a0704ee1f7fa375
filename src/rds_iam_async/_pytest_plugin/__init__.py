"""What is behind the fixtures; nothing is imported before one of them is used."""
