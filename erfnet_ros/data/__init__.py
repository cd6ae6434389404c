"""Image files, frame sources, data sets, bags and the synthetic street."""
