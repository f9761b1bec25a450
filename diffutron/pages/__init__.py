"""What the pages we write have in common: the style, the figures, the filling of a template."""
