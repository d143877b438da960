"""``python tests/cases/lvis_by_the_api.py`` prints lvis-api's figures of the sets made by hand.

It needs ``lvis`` 0.5.3, and NumPy below 1.24 for its ``np.float``; the tests have the numbers and not the package.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from lvis import LVIS, LVISEval, LVISResults
from lvis_cases import by_hand


def figures(crowded: int, most: int) -> dict[str, float]:
    """Give what ``LVISEval`` gives for masks with ``most`` detections an image."""
    truth, results = by_hand(crowded=crowded)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "truth.json"
        file.write_text(json.dumps(truth))
        annotated = LVIS(str(file))
        evaluation = LVISEval(annotated, LVISResults(annotated, results, max_dets=most), "segm")
        evaluation.params.max_dets = most
        evaluation.run()
    return {name: float(value) for name, value in evaluation.get_results().items()}


if __name__ == "__main__":
    for crowded, most in ((0, 300), (400, 300), (400, 10)):
        print(crowded, most, figures(crowded, most))
