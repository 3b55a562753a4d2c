"""Whether a model knows an artist's style by name, and how exactly it reproduces it."""
