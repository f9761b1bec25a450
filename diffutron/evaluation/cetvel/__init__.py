"""The seven CETVEL tasks as lm-eval task files."""
