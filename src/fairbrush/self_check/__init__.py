"""An artist's own view: which of some images draw on some works, without a platform or a workspace."""
