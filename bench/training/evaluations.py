"""How often a training is evaluated: every N iterations where that is asked for, else as often as it costs little."""

from __future__ import annotations

from bench.schema.config import FinetuneConfig


class EvaluationPlan:
    """Says after which iterations a training is evaluated; the last one always is, with or without this plan.

    ``finetune.evaluate_every=N`` is kept to. Without it, an evaluation is due after each epoch, and is made where all
    of them, the last included, still take at most ``finetune.evaluate_share`` of the time of the whole training. They
    are spread over it: at a third of the iterations, a third of that time may have been spent.

    epoch: iterations of an epoch
    iterations: of the whole training
    """

    def __init__(self, config: FinetuneConfig, epoch: int, iterations: int) -> None:
        self._every = config.evaluate_every or epoch
        self._share = None if config.evaluate_every else config.evaluate_share
        self._iterations = iterations

    def is_due(self, done: int) -> bool:
        """Tell whether this iteration is one after which an evaluation is to be thought of."""
        return done % self._every == 0 and done < self._iterations

    def is_affordable(self, done: int, training_seconds: float, spent_seconds: float, one_seconds: float) -> bool:
        """Tell whether an evaluation that is due may be made.

        done: iterations
        training_seconds: what they took, without evaluations
        spent_seconds: what the evaluations so far took
        one_seconds: what one takes, as far as it is known
        """
        if self._share is None or self._share >= 1:
            return True
        whole = training_seconds / done * self._iterations
        most = self._share / (1 - self._share) * whole
        return spent_seconds + one_seconds <= (most - one_seconds) * done / self._iterations
