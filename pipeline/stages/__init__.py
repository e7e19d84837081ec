"""What a run does: one file a stage. Inputs come from the store; a typed result goes back to it."""
