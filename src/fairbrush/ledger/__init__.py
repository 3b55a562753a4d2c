"""What is written down for good: policies, records of look-ups, and later the money they move."""
