"""All that is about one article: published numbers, claims and caveats."""
