"""fairbrush: which artists' styles does an image draw on, and how does the money split?"""

__version__ = "0.1.0"
