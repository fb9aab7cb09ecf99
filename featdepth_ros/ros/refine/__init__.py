"""refine_node: refines the weights of a running depth_node, with a trial of new weights and a rollback."""
