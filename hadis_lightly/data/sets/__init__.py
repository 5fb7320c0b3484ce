"""Named data sets, each as an image source."""
