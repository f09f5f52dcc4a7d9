"""Age, gender and expression of faces, as they look: calibrated ranges and probabilities, or nothing and the reason."""
