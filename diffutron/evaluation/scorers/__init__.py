"""What scores the choices of a question: one scorer per architecture, and the baselines."""
