"""The law by which flows become reports."""
