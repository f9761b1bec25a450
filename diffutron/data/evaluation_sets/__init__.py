"""The items that a model is measured on."""
