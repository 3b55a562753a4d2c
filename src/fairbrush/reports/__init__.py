"""What was recorded, as tables: the views, and SQL that can only read."""
