"""What the fast answer approximates: images regenerated for each coalition, and the game they measure."""
