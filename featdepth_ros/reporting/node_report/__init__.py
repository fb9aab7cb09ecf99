"""The evaluation report of a bag that the node recorded."""
