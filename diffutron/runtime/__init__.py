"""The ground: errors, files, YAML, progress and provenance. It imports nothing of ours."""
