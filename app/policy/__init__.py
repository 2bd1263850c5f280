"""IAM policies: a document is parsed into statements once, and statements are evaluated against a request (pure)."""
