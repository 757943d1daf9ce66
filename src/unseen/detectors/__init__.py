"""One file a method. `base` holds the contract; every other file here is a detector, found by its name."""
