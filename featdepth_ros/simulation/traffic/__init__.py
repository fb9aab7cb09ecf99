"""What moves by itself in a rendered world: vehicles, where they drive, and how they are placed in a scene."""
