"""Rolling a version out: a pure state machine, a pure judge of evidence, and the two that act on their word."""
