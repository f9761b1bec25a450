"""From text to its log-likelihood."""
