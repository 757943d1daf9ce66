"""Reference networks in plain torch; they know no loss and no data."""
