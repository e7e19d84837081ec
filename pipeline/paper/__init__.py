"""The tables and figures of the paper, from what a run, its benchmark and its cycles left."""
