"""The report card: what was built, from what, how well it does, and what cannot be compared."""
