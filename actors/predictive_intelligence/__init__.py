"""What comes next: forecasts, times, links between channels, scenarios."""
