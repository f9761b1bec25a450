"""How a text came to be, step by step, as a picture."""
