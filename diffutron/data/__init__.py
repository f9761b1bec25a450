"""Sources, filters, corpus and instruction recipes, evaluation sets, and the built-in sample."""
