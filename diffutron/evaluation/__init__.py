"""Measures: likelihood on text, the seven CETVEL tasks, instructions, generation, statistics."""
