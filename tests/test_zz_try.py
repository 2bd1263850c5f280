def test_y(s3vectors, bucket):
    s3vectors.create_index(
        vectorBucketName=bucket, indexName="movies", dataType="float32", dimension=2, distanceMetric="cosine"
    )
    s3vectors.put_vectors(
        vectorBucketName=bucket, indexName="movies", vectors=[{"key": "a", "data": {"float32": [1.0, 2.0]}}]
    )
    print(
        s3vectors.query_vectors(
            vectorBucketName=bucket, indexName="movies", topK=1, queryVector={"float32": [1.0, 2.0]}
        )
    )
