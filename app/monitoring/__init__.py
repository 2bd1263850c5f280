"""What an operator sees of a running server: health and metrics, on a port of their own."""
