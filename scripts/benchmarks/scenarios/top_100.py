"""Top 100 with metadata, beside the top 10 without."""

from statistics import median

from scripts.benchmarks.ground_truth import ground_truth, score
from scripts.benchmarks.run import Run
from scripts.benchmarks.targets import NONE_AT_ALL, RECALL_AT_100, TOP_100_TO_TOP_10

FEW, MANY = 10, 100


def top_100(run: Run) -> None:
    index = run.index
    few, many = index.queries(FEW), index.queries(MANY, metadata=True)
    with run.steps.step("recall of the top 100"):
        scored = score(ground_truth(index.dataset, MANY), run.each_once(index, many).found)
    run.figure("recall@100", scored.recall, "", RECALL_AT_100)
    run.figure(
        "answers without min(topK, rows)", scored.incomplete, "answers", NONE_AT_ALL, note=f"of {scored.answers}"
    )
    rounds = [
        (
            run.asked_by(1, index.searching(few), len(few), "top 10").p50,
            run.asked_by(1, index.searching(many), len(many), "top 100 with metadata").p50,
        )
        for _ in range(run.options.rounds)
    ]
    p50 = median(hundred for _, hundred in rounds)
    run.figure("p50, 1 client", p50, "ms", note=f"top 10: {median(ten for ten, _ in rounds):.2f} ms")
    run.figure("p50, to top 10", median(hundred / ten for ten, hundred in rounds), "x", TOP_100_TO_TOP_10)
