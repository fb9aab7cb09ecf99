"""Rendered clips as training data."""
