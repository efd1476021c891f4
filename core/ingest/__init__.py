"""Everything that brings observed data in: one module a format, a simulator, and the replay of a timeline."""
