"""The CETVEL tasks: their files, questions and protocols."""
