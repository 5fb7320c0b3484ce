"""How good clusters are: matching with other labels, scores, signs of a collapse."""
