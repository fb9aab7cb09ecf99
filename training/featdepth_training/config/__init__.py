"""The settings of a training run: their schema, their loading, and checks for contradictions."""
