"""Training: one loop over the DeepSpeed engine, for every stage that learns."""
