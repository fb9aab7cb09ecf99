"""Models as files for other run times. A file is compared with PyTorch before it is kept."""
