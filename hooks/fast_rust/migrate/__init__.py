"""Changes of a crate's own code that a release needs: each tried in a copy first, and left to be committed alone."""
