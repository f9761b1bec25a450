"""Many systems on the same questions, in one table."""
