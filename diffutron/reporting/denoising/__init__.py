"""How a text came to be, step by step: one reading of a trace, played on a page or as a picture."""
