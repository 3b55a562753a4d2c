"""Regeneration: what the fast answer approximates, measured."""
