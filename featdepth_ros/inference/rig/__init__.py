"""Several cameras on one vehicle: one batched forward pass, one motion, a separate depth for each camera."""
