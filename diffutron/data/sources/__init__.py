"""Where rows come from: local folders, the hub and the built-in sample."""
