"""Motion from two views without the map: for a start without depth, and for images with a large motion."""
