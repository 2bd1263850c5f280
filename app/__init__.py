"""pgs3vectors: the Amazon S3 Vectors API on PostgreSQL and pgvector."""
