"""The page about one answer: whose style an image draws on, how sure that is, and what it earned whom."""
