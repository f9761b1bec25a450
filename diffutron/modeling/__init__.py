"""Models: tokenizer, encoder, adapters, and the language-model head."""
