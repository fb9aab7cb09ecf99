"""`featdepth doctor`: observes the live graph and the machine, and reports their problems."""
