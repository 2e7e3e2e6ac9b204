"""Training: the standard pipeline and its steps, gates on held-out rows, scripts as pipelines, models in a child."""
