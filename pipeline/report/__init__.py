"""The page a stranger reads: which images to label first, and why."""
