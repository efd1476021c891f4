"""Learning on streams: what is kept of the past, how weights are held, and the predictor that learns as labels come."""
