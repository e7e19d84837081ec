"""MoCo v2 with a per-sample confidence, written to read like section 2 of the paper."""
