"""Schema changes in order; `core.store.migrate` runs them."""
