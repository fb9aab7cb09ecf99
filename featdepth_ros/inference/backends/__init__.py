"""Back ends of the networks: PyTorch, or a runtime of exported files. `networks.Networks` uses one of them."""
