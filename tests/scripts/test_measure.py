"""Measuring modes side by side: none inherits another's options."""

from scripts.measure import Mode, Workbench, measure

LIMITS = {"max_len_b": 12}
NAR = Mode("NAR", {"decoding": "nar"}, LIMITS)
MODES = [
    Mode("greedy", {"decoding": "ar"}, {"beam": 1, **LIMITS}),
    Mode("candidates", {"decoding": "nar", "nar_candidates": 4}, LIMITS),
    Mode("speculative", {"decoding": "speculative", "block_size": 3}, {"beam": 1, **LIMITS}),
    NAR,
]


def test_modes_side_by_side(toy_data, toy_checkpoint):
    bench = Workbench(toy_checkpoint, str(toy_data / "bin"))
    found = {result.name: result for result in measure(bench, MODES, batch_sizes=(16,), alone=5)}
    (alone,) = measure(Workbench(toy_checkpoint, str(toy_data / "bin")), [NAR], batch_sizes=(16,), alone=5)
    assert found["NAR"].hypotheses == alone.hypotheses != found["candidates"].hypotheses
    assert (found["NAR"].passes, found["candidates"].passes) == (1, 2)
    assert found["speculative"].hypotheses == found["greedy"].hypotheses
    assert found["speculative"].passes < found["greedy"].passes
    assert all(result.throughput_spread > 0 for result in found.values())  # of three times
    assert all(len(result.hypotheses) == 43 and result.batch_size == 16 for result in found.values())
