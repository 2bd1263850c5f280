// A full round with Mastra's public class: `node round.mjs BUCKET`, all else from AWS_* variables.
import assert from "node:assert/strict";
import { S3Vectors as Sdk } from "@aws-sdk/client-s3vectors";
import { S3Vectors } from "@mastra/s3vectors";

const [vectorBucketName] = process.argv.slice(2);
const sdk = new Sdk({ maxAttempts: 1 });
await sdk.createVectorBucket({ vectorBucketName });

const store = new S3Vectors({ id: "round", vectorBucketName, nonFilterableMetadataKeys: ["text"] });
const indexName = "film_notes"; // Mastra makes it film-notes
const ids = (matches) => matches.map(({ id }) => id);

await store.createIndex({ indexName, dimension: 3, metric: "cosine" });
await store.createIndex({ indexName, dimension: 3, metric: "cosine" }); // ConflictException, then GetIndex
await assert.rejects(store.createIndex({ indexName, dimension: 4, metric: "cosine" }));
assert.deepEqual(await store.listIndexes(), ["film-notes"]);
assert.deepEqual(await store.describeIndex({ indexName }), { dimension: 3, metric: "cosine", count: 0 });

const seen = new Date("2026-11-24T00:00:00Z");
await store.upsert({
  indexName,
  ids: ["breathless", "spirited-away", "nemo"],
  vectors: [[1, 0, 0], [0, 1, 0], [1, 1, 0]],
  metadata: [
    { year: 1959, genre: "drama", text: "À bout de souffle", seen },
    { year: 2001, genre: "animation", text: "千と千尋の神隠し" },
    { year: 2003, genre: "animation", "for-children": true },
  ],
});
assert.equal((await store.upsert({ indexName, vectors: [[-1, 0, 0]] })).length, 1);
assert.deepEqual(await store.describeIndex({ indexName }), { dimension: 3, metric: "cosine", count: 4 });

const query = { indexName, queryVector: [2, 0, 0] };
const [best, second] = await store.query({ ...query, topK: 2, includeVector: true });
assert.deepEqual(best, {
  id: "breathless",
  score: 1,
  metadata: { year: 1959, genre: "drama", text: "À bout de souffle", seen: seen.getTime() },
  vector: [1, 0, 0],
});
assert.equal(second.id, "nemo");
assert.ok(Math.abs(second.score - 1 / (2 - Math.SQRT1_2)) < 1e-6, `score ${second.score}`);
const filters = [
  [{ genre: "animation" }, ["nemo", "spirited-away"]],
  [{ genre: "animation", year: { $lt: 2003 } }, ["spirited-away"]],
  [{ $or: [{ "for-children": true }, { seen: { $gte: seen } }] }, ["breathless", "nemo"]],
  [{ genre: { $nin: ["animation", "drama"] }, year: { $exists: true } }, []],
  [{}, ["breathless", "nemo", "spirited-away"]],
];
for (const [filter, expected] of filters) {
  assert.deepEqual(ids(await store.query({ ...query, topK: 3, filter })), expected, JSON.stringify(filter));
}
await assert.rejects(store.query({ ...query, filter: { text: "À bout de souffle" } }), /non-filterable/);

await store.updateVector({ indexName, id: "nemo", update: { metadata: { year: 2004 } } });
const [nemo] = await store.query({ ...query, queryVector: [1, 1, 0], topK: 1, includeVector: true });
assert.deepEqual([nemo.metadata, nemo.vector], [{ year: 2004 }, [1, 1, 0]]);

await store.deleteVector({ indexName, id: "nemo" });
assert.equal((await store.describeIndex({ indexName })).count, 3);
await store.deleteIndex({ indexName });
assert.deepEqual(await store.listIndexes(), []);
await assert.rejects(store.describeIndex({ indexName }), /could not be found/);
await store.disconnect();
await sdk.deleteVectorBucket({ vectorBucketName });
