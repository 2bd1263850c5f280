"""What is meant at another endpoint, and how a command line says so."""

import re

from msgspec import Struct

# In which an index is listed side by side.
MAX_SEGMENTS = 16

_NAME = re.compile(r"s3vectors://(?P<bucket>[^/]+)(/(?P<index>[^/]+))?/?")
_ARN = re.compile(
    r"(?P<arn>arn:[^:]+:s3vectors:(?P<region>[^:]+):[0-9]+:bucket/(?P<bucket>[^/]+))(/index/(?P<index>.+))?"
)


class RemoteName(Struct, frozen=True):
    """What is meant at an endpoint: a bucket, or one index of it."""

    bucket: str
    index: str | None = None
    bucket_arn: str | None = None
    region: str | None = None

    @property
    def of_bucket(self) -> dict[str, str]:
        """Members of a request."""
        return {"vectorBucketArn": self.bucket_arn} if self.bucket_arn else {"vectorBucketName": self.bucket}

    def of_index(self, index: str) -> dict[str, str]:
        if self.bucket_arn:
            return {"indexArn": f"{self.bucket_arn}/index/{index}"}
        return {"vectorBucketName": self.bucket, "indexName": index}


def remote_name(text: str) -> RemoteName | None:
    """None where it is not of this form: a path, say."""
    if match := _NAME.fullmatch(text):
        return RemoteName(match["bucket"], match["index"])
    if match := _ARN.fullmatch(text):
        return RemoteName(match["bucket"], match["index"], match["arn"], match["region"])
    return None
