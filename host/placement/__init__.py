"""Which actor a key names, which instance runs it, and how events reach it."""
