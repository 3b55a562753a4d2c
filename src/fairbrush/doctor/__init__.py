"""Is everything in order? Installation and workspace, each row with the way out."""
