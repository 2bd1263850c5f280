"""`pgs3vectors import` and `pgs3vectors export`: vectors from and to files and other endpoints."""
