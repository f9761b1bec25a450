"""From masks to text."""
