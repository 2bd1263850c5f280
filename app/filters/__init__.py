"""The metadata filter language: JSON to nodes to a SQL condition."""
