"""Motion from two views alone, where the map cannot tell: a start without depth, and pictures far apart."""
