"""Records nobody can quietly rewrite: canonical JSON, Merkle trees, and one chain of heads."""
