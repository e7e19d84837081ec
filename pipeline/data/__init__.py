"""Images: from any source to a pool on the store, and from the pool to augmented views."""
