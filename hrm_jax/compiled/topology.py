"""Devices that are not here, to compile for: XLA's own TPU and GPU compilers run on any machine.

They come with jax's plugins, which variables of the environment let work without their hardware. Nothing is
executed on such devices, and nothing can be placed on them.
"""

import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from hrm_jax.artefacts.errors import RequestError, known, one_line
from hrm_jax.compiled.chips import CHIPS, Chip

GPUS = ("h100", "h200")
TPU_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",  # of no effect on what is compiled
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_STDERR_LOG_LEVEL": "3",
    "TPU_MIN_LOG_LEVEL": "3",
    "JAX_PLATFORMS": "cpu",
}
# Autotuning would run kernels; without it the compiler's own guess of a Triton matmul is worse than cuBLAS.
GPU_FLAGS = "--xla_gpu_autotune_level=0 --xla_gpu_enable_triton_gemm=false"
GPU_ENVIRONMENT = {"JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1", "JAX_PLATFORMS": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
EXAMPLES = "such as v5e:2x4, v4:2x2x2, v6e:2x4, h100:8 or h200:1"


class Topology(NamedTuple):
    """What is compiled for."""

    chip: Chip
    kind: str  # a key of `CHIPS`
    shape: tuple[int, ...]  # of a TPU slice; of GPUs how many one host has

    @property
    def name(self) -> str:
        """`KIND:SHAPE`."""
        return f"{self.kind}:{'x'.join(map(str, self.shape))}"


def parse(text: str) -> Topology:
    """`KIND:SHAPE`; a wrong one is a `RequestError`."""
    kind, _, shape = text.partition(":")
    if not re.fullmatch(r"[1-9]\d{0,3}(x[1-9]\d{0,3}){0,2}", shape):
        raise RequestError(f"--topology {text}: a kind of device and how many, {EXAMPLES}")
    known("kind of device in --topology", kind, CHIPS)
    sides = tuple(int(side) for side in shape.split("x"))
    if kind in GPUS and len(sides) > 1:
        raise RequestError(f"--topology {text}: of GPUs a number, such as {kind}:8")
    if kind not in GPUS and len(sides) == 1:
        raise RequestError(f"--topology {text}: of TPUs the sides of a slice, such as {kind}:2x4 for 8 chips")
    return Topology(CHIPS[kind], kind, sides)


def prepare(topology: Topology) -> None:
    """Set what the plugin reads when jax is imported; to be called before."""
    if topology.kind in GPUS:
        os.environ.update(GPU_ENVIRONMENT)
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {GPU_FLAGS}".strip()
    else:
        os.environ.update(TPU_ENVIRONMENT)


def devices(topology: Topology) -> list[Any]:
    """The devices of a topology; a `RequestError` where its plugin is missing or refuses it."""
    from jax.experimental import topologies

    kind, shape = topology.kind, topology.shape
    platform, extra = ("cuda", "aot-gpu") if kind in GPUS else ("tpu", "aot-tpu")
    try:
        if kind in GPUS:
            target = (Path(__file__).parent / f"{kind}.txtpb").read_text()
            where = f"1x1x{shape[0]}"
            found = topologies.get_topology_desc(kind, platform, target_config=target, topology=where)
        else:
            options: dict[str, Any] = {"chip_config_name": "megacore"} if kind == "v4" else {}
            if set(shape) == {1}:  # a host of one chip; by default it has four
                options["chips_per_host_bounds"] = [1, 1, 1]
            found = topologies.get_topology_desc(topology.name, platform, **options)
    except Exception as error:
        text = one_line(error)
        if "not installed" in text or "not implemented" in text or "Unknown backend" in text:
            raise RequestError(
                f"--topology: the compiler for {topology.chip.name} is not installed: "
                f"pip install 'hrm_jax[{extra}]'"
            ) from None
        raise RequestError(f"--topology {topology.name}: {text[:200]}") from None
    return list(found.devices)
