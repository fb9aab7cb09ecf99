"""The training objective: supervised and self-supervised terms."""
