"""What travels between services, processes and users: frozen dataclasses, one module a noun, JSON by `core.codec`."""
