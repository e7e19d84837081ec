"""One short file a job: arguments, one call, what to look at next."""
