"""The report on a recording of the node."""
