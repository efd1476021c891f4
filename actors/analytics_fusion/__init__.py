"""The numbers of a channel: overview, posts, series, data status."""
