"""Texts compared with texts: copies, near copies, and evaluation items in training texts."""
