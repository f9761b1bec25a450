"""Speed and memory, measured by hand: the plain form of the mathematics beside ours in one run.

    python -m benchmarks.train_step --shape 307m --json

Never part of the tests, which only look at the keys and the equalities of the small shape.
"""
