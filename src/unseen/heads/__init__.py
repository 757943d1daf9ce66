"""Features -> class logits. `base` holds the contract; every other file here is a head, found by its name."""
