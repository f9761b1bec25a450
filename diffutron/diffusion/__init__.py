"""Masked diffusion.

Schedules, forward process, loss, sampling and likelihood. Imports torch and nothing of ours.
"""
