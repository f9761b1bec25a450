"""The parameters of a run, as strict typed classes."""
