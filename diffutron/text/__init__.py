"""Turkish text: normalization, language, filters and personal data."""
