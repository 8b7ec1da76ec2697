"""The live page: one process serves it, one lab is behind it, any number of viewers look at it."""
