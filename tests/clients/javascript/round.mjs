// A full round with the AWS SDK for JavaScript: `node round.mjs BUCKET`, all else from AWS_* variables.
import assert from "node:assert/strict";
import {
  ConflictException,
  NotFoundException,
  paginateListVectors,
  paginateQueryVectors,
  S3Vectors,
  ValidationException,
} from "@aws-sdk/client-s3vectors";

const client = new S3Vectors({ maxAttempts: 1 });
const [vectorBucketName] = process.argv.slice(2);
const index = { vectorBucketName, indexName: "films" };

const keys = (vectors) => vectors.map(({ key }) => key);
const isNow = (date) => date instanceof Date && Math.abs(Date.now() - date) < 120_000;

const { vectorBucketArn } = await client.createVectorBucket({ vectorBucketName });
assert.ok(vectorBucketArn.endsWith(`:bucket/${vectorBucketName}`));
const { vectorBucket } = await client.getVectorBucket({ vectorBucketName });
assert.ok(isNow(vectorBucket.creationTime), "creationTime of a bucket");
const { vectorBuckets } = await client.listVectorBuckets({ prefix: vectorBucketName });
assert.deepEqual(vectorBuckets, [{ vectorBucketName, vectorBucketArn, creationTime: vectorBucket.creationTime }]);

assert.deepEqual((await client.listIndexes({ vectorBucketName })).indexes, []);
const definition = {
  dataType: "float32",
  dimension: 3,
  distanceMetric: "euclidean",
  metadataConfiguration: { nonFilterableMetadataKeys: ["text"] },
};
const { indexArn } = await client.createIndex({ ...index, ...definition });
assert.equal(indexArn, `${vectorBucketArn}/index/films`);
const described = (await client.getIndex({ indexArn })).index;
assert.ok(isNow(described.creationTime), "creationTime of an index");
for (const [name, value] of Object.entries(definition)) assert.deepEqual(described[name], value);
assert.ok(isNow((await client.listIndexes({ vectorBucketName })).indexes[0].creationTime), "creationTime in a list");

const empty = await client.queryVectors({ ...index, topK: 3, queryVector: { float32: [1, 0, 0] } });
assert.deepEqual([empty.vectors, empty.distanceMetric], [[], "euclidean"]);

const stored = {
  "été/🎬 100%?": { float32: [0.1, -1e-7, 16777217], metadata: { année: 1959, "a.b-c": true, text: "“À bout de souffle”" } },
  千と千尋: { float32: [0, 0, 1], metadata: { année: 2001, genre: ["fantasy", "animation"] } },
  plain: { float32: [0, 2, 1] },
};
await client.putVectors({
  ...index,
  vectors: Object.entries(stored).map(([key, { float32, metadata }]) => ({ key, data: { float32 }, metadata })),
});
const got = await client.getVectors({ ...index, keys: [...Object.keys(stored), "absent"], returnData: true, returnMetadata: true });
assert.equal(got.vectors.length, 3);
for (const { key, data, metadata } of got.vectors) {
  assert.deepEqual(data.float32.map(Math.fround), stored[key].float32.map(Math.fround));
  assert.deepEqual(metadata, stored[key].metadata ?? {});
}
assert.deepEqual((await client.getVectors({ ...index, keys: ["plain"] })).vectors, [{ key: "plain" }]);

const listed = [];
const ofTwo = paginateListVectors({ client, pageSize: 2 }, { ...index }); // it writes the token into what it is given
for await (const page of ofTwo) listed.push(...keys(page.vectors));
assert.deepEqual(listed.sort(), Object.keys(stored).sort());

const query = { ...index, queryVector: { float32: [0, 0, 1] }, returnDistance: true };
const near = await client.queryVectors({ ...query, topK: 2 });
assert.deepEqual(near.vectors, [{ key: "千と千尋", distance: 0 }, { key: "plain", distance: 4 }]);
const filters = [
  [{ année: { $gte: 1950, $lt: 2000 } }, ["été/🎬 100%?"]],
  [{ "a.b-c": true }, ["été/🎬 100%?"]],
  [{ "a.b-c": 1 }, []],
  [{ genre: "animation" }, ["千と千尋"]],
  [{ $or: [{ année: { $in: [2001] } }, { année: { $exists: false } }] }, ["千と千尋", "plain"]],
];
for (const [filter, expected] of filters) {
  assert.deepEqual(keys((await client.queryVectors({ ...query, topK: 3, filter })).vectors), expected, JSON.stringify(filter));
}
const many = Array.from({ length: 120 }, (_, i) => ({ key: `many/${i}`, data: { float32: [i, 1, 0] } }));
await client.putVectors({ ...index, vectors: many });
const pages = [];
for await (const page of paginateQueryVectors({ client }, { ...query, topK: 100 })) pages.push(...keys(page.vectors));
assert.deepEqual([pages[0], pages.length, new Set(pages).size], ["千と千尋", 100, 100]);
assert.ok(!pages.includes("été/🎬 100%?"), "the farthest of 123");
const several = [];
for await (const page of paginateQueryVectors({ client }, { ...query, topK: 10_000 })) several.push(keys(page.vectors));
assert.deepEqual(several.map((page) => page.length), [100, 23]);
assert.deepEqual([several[0], new Set(several.flat()).size, several[1].at(-1)], [pages, 123, "été/🎬 100%?"]);

const failure = async (promise) => promise.then(() => assert.fail("no error"), (error) => error);
const invalid = await failure(client.queryVectors({ ...query, topK: 3, filter: { $not: [] } }));
assert.ok(invalid instanceof ValidationException);
assert.deepEqual(invalid.fieldList, [{ path: "filter", message: "Invalid filter" }]);
const short = await failure(client.createVectorBucket({ vectorBucketName: "ab" }));
assert.deepEqual([short.name, short.fieldList[0].path], ["ValidationException", "/vectorBucketName"]);
const missing = await failure(client.getIndex({ ...index, indexName: "absent" }));
assert.ok(missing instanceof NotFoundException);
assert.deepEqual([missing.name, missing.message], ["NotFoundException", "The specified index could not be found"]);
assert.equal(missing.$metadata.httpStatusCode, 404);
assert.ok(missing.$metadata.requestId);
assert.ok((await failure(client.createIndex({ ...index, ...definition }))) instanceof ConflictException);

for (const resourceArn of [vectorBucketArn, indexArn]) {
  const tags = { équipe: "vidéo", "cost center": "a+b/c=d", kept: "" };
  await client.tagResource({ resourceArn, tags });
  assert.deepEqual((await client.listTagsForResource({ resourceArn })).tags, tags);
  await client.untagResource({ resourceArn, tagKeys: ["équipe", "cost center"] });
  assert.deepEqual((await client.listTagsForResource({ resourceArn })).tags, { kept: "" });
}

const Statement = [{ Effect: "Allow", Principal: { AWS: vectorBucketArn.split(":")[4] }, Action: "s3vectors:*", Resource: "*" }];
const policy = JSON.stringify({ Version: "2012-10-17", Statement });
await client.putVectorBucketPolicy({ vectorBucketName, policy });
assert.deepEqual(JSON.parse((await client.getVectorBucketPolicy({ vectorBucketArn })).policy), JSON.parse(policy));
await client.deleteVectorBucketPolicy({ vectorBucketName });

await client.deleteVectors({ ...index, keys: [...Object.keys(stored), ...keys(many)] });
assert.deepEqual((await client.listVectors(index)).vectors, []);
assert.ok((await failure(client.deleteVectorBucket({ vectorBucketName }))) instanceof ConflictException);
await client.deleteIndex({ indexArn });
await client.deleteVectorBucket({ vectorBucketName });
assert.ok((await failure(client.getVectorBucket({ vectorBucketName }))) instanceof NotFoundException);
