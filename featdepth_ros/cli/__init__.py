"""The `featdepth` command."""
