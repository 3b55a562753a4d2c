"""The audit: what a sample of regenerated images says about the money that the fast answer splits."""
