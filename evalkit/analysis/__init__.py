"""Per-image scores to intervals, paired tests, ranks and the choice of a patch size. Never imports TensorFlow."""
