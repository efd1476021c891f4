"""The gateway: every HTTP question but predictions, each a thin route over a service's protocol."""
