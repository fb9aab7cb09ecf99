"""From a scene to pictures with known depth: shapes, textures, light, the compiled loops."""
