"""Ground floor: schemas, metric dictionary, protocols, settings, errors, stores, ingest. Knows nothing of Ray or torch."""
