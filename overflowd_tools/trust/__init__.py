"""Keys, and the files they live in."""
