"""What an image's file says about its attribution, and how it got to say so."""
