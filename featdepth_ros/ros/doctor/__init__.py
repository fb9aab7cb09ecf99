"""`featdepth doctor`: a look at the live graph and the machine, and what is wrong with them in words."""
