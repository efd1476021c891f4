"""The predictor: stable versions in process, the version on trial in an application of its own, one durable log."""
