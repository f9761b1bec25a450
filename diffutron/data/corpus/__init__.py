"""The stage `corpus`: documents are cleaned one by one, then compared with each other."""
