"""Every quota of the API by name; those that shapes carry (lengths, ranges) stand in the shapes themselves.

Sources: the service model, and the user guide's page s3-vectors-limitations.html; `MAX_CLASSIC_FILTER_CONSTRAINTS` and
`MAX_FILTER_DEPTH` are our own bounds.
"""

MAX_REQUEST_BODY_BYTES = 20 * 1024 * 1024
MAX_VECTOR_BUCKETS_PER_ACCOUNT = 10_000
MAX_INDEXES_PER_VECTOR_BUCKET = 10_000
MAX_TEXT_SEARCHES_PER_INDEX = 10
MAX_TOP_K = 10_000
MAX_QUERY_PAGE = 100
MAX_VECTOR_KEY_BYTES = 1_024
MAX_METADATA_KEYS = 50
MAX_METADATA_BYTES = 40_960
MAX_FILTERABLE_METADATA_BYTES = 2_048
MAX_TAGS = 50
MAX_LIST_VECTORS_PAGE_BYTES = 1024 * 1024
MAX_POLICY_BYTES = 20 * 1024

# One constraint is one value that is compared.  AWS bounds them under ENHANCED only.  For 63,666 rows, 1,024 values of
# one key take some 0.1 s and 1,024 different conditions up to 8 s, which the statement timeout bounds.
MAX_FILTER_CONSTRAINTS = 100
MAX_CLASSIC_FILTER_CONSTRAINTS = 1_024
MAX_FILTER_DEPTH = 32

# Of what queries of several pages have found, kept for each user, of which the oldest goes.
MAX_RANKINGS_OF_ONE = 1_000
MAX_RANKING_BYTES_OF_ONE = 256 * 1024 * 1024

# From here on a body has pages of its own and is decoded in a thread; below, both cost more than they save.
LARGE_BODY_BYTES = 256 * 1024

# Of large requests that a worker is busy with at once, by their bodies; while busy they take some four times as much.
MAX_BUSY_BYTES = 32 * 1024 * 1024

# Of large bodies that a worker holds at once, from before their signature is verified until they are answered: of all,
# and of one access key from one address.
MAX_HELD_BYTES = 128 * 1024 * 1024
MAX_HELD_BYTES_OF_ONE = 64 * 1024 * 1024

# Of the raw request, before anybody is known.
MAX_HEADERS = 64
MAX_HEADER_BYTES = 16 * 1024
