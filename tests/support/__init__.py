"""Code that tests of several folders share, one subject for each module; measuring scripts use it, too."""
