"""(classifier, images, classes) -> saliency maps. Nothing here imports TensorFlow: the classifier does."""
