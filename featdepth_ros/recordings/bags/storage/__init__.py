"""The files bags are stored in: which they are, which belong together, and their messages as stored."""
