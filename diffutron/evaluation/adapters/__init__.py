"""What scores the choices of a question: one adapter an architecture, and the baselines."""
