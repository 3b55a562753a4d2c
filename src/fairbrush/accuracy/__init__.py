"""How right are the answers? Known images in, error rates beside simple baselines out."""
