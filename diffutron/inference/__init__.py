"""From a folder, a hub name or a version to answers."""
