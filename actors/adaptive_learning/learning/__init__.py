"""Learning: trainings and studies from a durable queue."""
