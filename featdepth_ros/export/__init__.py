"""Export of models for other run times. Each file is compared with PyTorch before it is kept."""
