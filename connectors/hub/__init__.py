"""The inputs of a live session over the network, for others to fold."""
