"""The best round by the benchmark that is there for choosing."""

from verl_rzero.watch.choice import best_round, rounds_without_improvement


def report(*scores: tuple[float, float] | None, choose_by: str | None = "choice") -> dict:
    """The base model and rounds with (greedy, mean@k) each; `tiny`, which is reported, says the opposite."""
    parts = [
        {"model": {"model": "model"}, "solver": {"model": "model"}, "round": number, "evaluation": None}
        if score is None
        else {
            "model": {"model": "model"},
            "solver": {"model": "model"},
            "round": number,
            "evaluation": {
                "tiny": {"greedy": 1 - score[0], "mean_at_k": 0.0},
                "choice": {"greedy": score[0], "mean_at_k": score[1]},
            },
        }
        for number, score in enumerate(scores)
    ]
    return {"settings": {"evaluation": {"choose_by": choose_by}}, "base": parts[0], "rounds": parts[1:]}


def best(*scores) -> int:
    return best_round(report(*scores))["round"]


def test_the_highest_greedy_accuracy_wins():
    found = best_round(report((0.5, 0.5), (0.7, 0.5), (0.8, 0.4), (0.6, 0.9)))
    assert found == {
        "round": 2, "benchmark": "choice", "score": 0.8, "mean_at_k": 0.4, "model": "round_2/solver/model",
    }  # fmt: skip


def test_among_equals_the_higher_mean_at_k_then_the_earlier_round():
    assert best((0.5, 0.5), (0.8, 0.6), (0.8, 0.7)) == 2
    assert best((0.5, 0.5), (0.8, 0.7), (0.8, 0.7)) == 1


def test_the_base_model_is_a_candidate():
    found = best_round(report((0.9, 0.5), (0.8, 0.6)))
    assert (found["round"], found["model"]) == (0, "base/model/model")


def test_a_model_from_outside_is_named_as_it_is():
    content = report((0.9, 0.5))
    content["base"]["model"] = {"model": "owner/name"}
    assert best_round(content)["model"] == "owner/name"


def test_without_a_benchmark_to_choose_by_or_without_scores_there_is_no_best_round():
    assert best_round(report((0.5, 0.5), choose_by=None)) is None
    assert best_round(report(None)) is None


def test_rounds_without_improvement_count_from_the_best_round():
    assert rounds_without_improvement(report((0.5, 0.5), (0.8, 0.5))) == 0
    assert rounds_without_improvement(report((0.5, 0.5), (0.8, 0.5), (0.8, 0.5), (0.7, 0.9))) == 2
    assert rounds_without_improvement(report((0.5, 0.5), (0.8, 0.5), (0.7, 0.5), None)) == 1
    assert rounds_without_improvement(report((0.5, 0.5), (0.4, 0.5), choose_by=None)) == 0
