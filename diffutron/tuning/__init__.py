"""Tune a model on rows of one's own: read them, learn them, and measure what it changed."""
