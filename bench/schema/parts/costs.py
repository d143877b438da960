"""What the memory, energy and flops passes measure."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.files.bounds import Agreeing, Amount, Count


@dataclass
class MemoryResult:
    """The memory pass: five figures, in bytes.

    parameters_bytes, buffers_bytes: None for a runtime that has no module of torch's
    device_source: how ``process_device_bytes`` was read: ``nvml_process``, or ``device_difference`` (the growth of the
        whole GPU) where NVML cannot see the process, as in a container
    host_rss_source: what ``host_rss_bytes`` is: ``resettable_peak``, the peak of this pass, or ``process_peak``
    """

    parameters_bytes: Count | None
    buffers_bytes: Count | None
    peak_allocated_bytes: Count | None = None
    peak_reserved_bytes: Count | None = None
    process_device_bytes: Count | None = None
    device_source: str | None = None
    host_rss_bytes: Count | None = None
    host_rss_source: str | None = None


@dataclass
class FlopsResult(Agreeing):
    """The flops pass: floating-point operations of one image at the ``model`` boundary (see :mod:`bench.passes.flops`),
    mean and standard deviation over so many images.

    counts: of each of these images, in the order of the data set; empty in files of before there was this field
    counted_by: the name of the job's folder that counted all of them, where this row counted only the first and found
        it equal; None where this row counted all
    """

    mean: Amount
    std: Amount
    images: Count
    counts: list[Count] = field(default_factory=list)
    counted_by: str | None = None

    def check(self) -> None:
        """See :class:`Agreeing`."""
        if self.counts and len(self.counts) != self.images:
            raise ValueError(f"flops.counts has {len(self.counts)} entries, of {self.images} images")


@dataclass
class EnergyResult:
    """The energy pass: the joules that the GPU used in a window of time, and the images that the model did in it."""

    energy_joules: Amount
    images: Count
    window_seconds: Amount
