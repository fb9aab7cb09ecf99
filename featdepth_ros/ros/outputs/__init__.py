"""Additional output topics: images for viewers, compressed images, clouds for costmaps, the path."""
