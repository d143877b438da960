"""Time the evaluation of results of COCO val2017's size: 180,000 detections, of which 36,000 are matched.

Everything runs in a process of its own. Processor time is counted, since other work may share the machine, and compared
with that of Python's own parser on the same file. Reading is of the whole file; matching and the bootstrap grow with
the images.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from peaks import printed_by

IMAGES_MATCHED = 1000
MOST_OF_PARSING = 4
"""The most that reading and checking may take, in times that Python takes to parse the file; 1.6 were measured."""
MOST_TO_EVALUATE = 12
MOST_WITHOUT_PARTS = 3
"""The most that evaluating may take, with all parts and with none, in the same times; 5.4 and 0.5 were measured."""
MOST_MEMORY_OF_FILE = 4
"""The most memory that reading may take, in sizes of the file; 2.1 were measured, and 5 by the reader of any form."""


def test_replaying_180_000_detections(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    numbers = printed_by(f"""
import json
import time
from pathlib import Path
from contexts import context_of
from val2017_size import write_set
from adapters.replay import ReplayPredictor
from bench.data.dataset import load
from bench.passes.accuracy import PASS
from bench.passes.predictions import ReplayedPredictions
from bench.predictor import ResultsFile
from bench.schema.config import ACCURACY_PARTS, AccuracyConfig, BenchConfig, DatasetConfig, ModelConfig

class OfFile(ReplayPredictor):
    classes = ()
    def __init__(self, path):
        self.results_file = ResultsFile(path)

folder = Path({str(tmp_path)!r})
large = write_set(folder)
dataset = load(DatasetConfig("large", annotations=str(large.annotations)))
times = []
start = time.process_time()
ReplayedPredictions(OfFile(large.results), dataset, BenchConfig())
times.append(time.process_time() - start)
some = dataset.first({IMAGES_MATCHED})
for parts in (list(ACCURACY_PARTS), []):
    config = BenchConfig(model=ModelConfig(weights="own"), accuracy=AccuracyConfig(parts))
    start = time.process_time()
    accuracy = PASS.measure(context_of(OfFile(large.results), some, config, labels=[], folder=folder))
    times.append(time.process_time() - start - times[0])
start = time.process_time()
json.loads(large.results.read_bytes())
print(*times, time.process_time() - start, large.detections, accuracy.detections)
""")
    read, evaluated, without_parts, parsed, detections, matched = numbers
    for name, value in (("read_s", read), ("evaluate_s", evaluated), ("evaluate_without_parts_s", without_parts)):
        record_property(name, round(value, 2))
    assert (detections, matched) == (180_000, 36 * IMAGES_MATCHED)
    assert read < MOST_OF_PARSING * parsed
    assert evaluated < MOST_TO_EVALUATE * parsed
    assert without_parts < MOST_WITHOUT_PARTS * parsed
    (grown,) = printed_by(f"""
from pathlib import Path
from peaks import peak_megabytes
from bench.data.dataset import load
from bench.data.results.reader import read_results
from bench.predictor import ResultsFile
from bench.schema.config import DatasetConfig

folder = Path({str(tmp_path)!r})
dataset = load(DatasetConfig("large", annotations=str(folder / "instances.json")))
before = peak_megabytes()
read = read_results(ResultsFile(folder / "results.json"), dataset)
print((peak_megabytes() - before) / ((folder / "results.json").stat().st_size / 1e6))
""")
    record_property("memory_of_file", round(grown, 2))
    assert grown < MOST_MEMORY_OF_FILE
