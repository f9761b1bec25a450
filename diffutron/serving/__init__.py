"""The server: many requests at one model."""
