"""Training losses with their heads: one file a method. None runs a loop; the trainer knows none of them."""
