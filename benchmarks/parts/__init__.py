"""What the benchmarks share; the commands stand one folder up."""
