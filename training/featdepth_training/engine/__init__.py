"""What takes the steps: trainer, optimiser, checkpoints, validation."""
