"""Samples for training: caches, batches, augmentation, loading."""
