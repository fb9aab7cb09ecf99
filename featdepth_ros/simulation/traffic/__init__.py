"""Moving vehicles and people in a rendered world: their bodies, lanes and motion."""
