"""Running of a node: its process, and swapping of weights while images flow."""
