"""A pool that grows: what changed since the last look, what was handed out, and what is known of every sample. Pure."""
