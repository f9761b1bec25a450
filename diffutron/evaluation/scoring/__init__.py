"""The engine that asks: cached answers, sanity checks and results per system."""
