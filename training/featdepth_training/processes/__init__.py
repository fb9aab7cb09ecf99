"""Several processes and their signals."""
