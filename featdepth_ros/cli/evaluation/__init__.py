"""The verbs below ``featdepth eval``."""
