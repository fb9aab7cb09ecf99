"""The training engine: trainer, optimiser, checkpoints, validation."""
