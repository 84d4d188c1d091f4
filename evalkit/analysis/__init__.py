"""Analysis of stored scores: intervals, paired tests, ranks, choice of a patch size. Never imports TensorFlow."""
