"""What a run does: one file a stage, inputs from the store, a typed result back to it."""
