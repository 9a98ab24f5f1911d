"""Programs that XLA compiled, for the device at hand or for one that is not: what they need and must take."""
