"""The nouns: pure data that every layer shares."""
