"""Vectors as they come and go beside the API: files of other programs, and other endpoints."""
