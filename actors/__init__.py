"""The service domains: pure modules named after the service, and one thin Ray actor each."""
