"""The stage `instructions`: instruction sets become rows in the chat format."""
