"""The stages of one k-means fit: seeding, iterations, restarts, refinement."""
