"""What an image's file says about how it was generated; :mod:`.read` is the door."""
