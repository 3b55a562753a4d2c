"""Reports that people look at: one self-contained file each, in their language."""
