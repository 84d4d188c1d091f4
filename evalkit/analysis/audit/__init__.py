"""How far the metrics of a run can be trusted on its model and images."""
