"""Monitoring of a training run: metrics, images, and an estimate of the remaining time."""
