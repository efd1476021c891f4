"""Alerts: rules over a channel's metrics, what they raise, who is told, and the fresh posts live."""
