"""What computes the networks: PyTorch, or a run time of exported files. `networks.Networks` drives one of them."""
