"""refine_node: weights that learn beside a running depth_node, on trial before they count, and the way back."""
