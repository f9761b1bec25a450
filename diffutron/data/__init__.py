"""From sources to token ids: the corpus, the instructions and the evaluation sets."""
