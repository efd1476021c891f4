"""Model versions, where they come from, and which of them is in charge."""
