"""Several cameras on one vehicle: one batched forward, one motion, each camera's own depth."""
