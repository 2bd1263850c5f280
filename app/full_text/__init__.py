"""Full-text search as it is without a database: words of a text, how much they are worth, and rankings made one."""
