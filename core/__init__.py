"""Ground floor: schemas, metrics, protocols, settings, errors, stores, ingest. Knows nothing of Ray or torch."""
