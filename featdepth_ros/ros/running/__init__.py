"""How a node runs: its process, and the exchange of its weights while images flow."""
