"""What a guest can do, one file per verb set: pure over the hydrated state of its actor, recorded as effects."""
