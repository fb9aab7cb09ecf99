"""The rendered worlds: streets, rooms, corridors, and the objects in them."""
