"""The stages of one k-means fit: arrays, seeding, restarts, iterations, refinement."""
