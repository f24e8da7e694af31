"""The JavaScript side of the SDK: the prelude and the TypeScript declarations."""
