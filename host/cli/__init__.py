"""The command `dormice`."""
