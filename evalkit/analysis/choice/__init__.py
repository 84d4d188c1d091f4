"""Choice of an explainer's parameters: the sweep and the recommendation."""
