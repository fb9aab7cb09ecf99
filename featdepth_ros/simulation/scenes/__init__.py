"""What the rendered worlds consist of: streets, rooms, corridors, and what stands in them."""
