"""`hrm_jax.worlds` under jit: its loops over time as scans."""

import functools

import jax

from hrm_jax.worlds import baselines, motion

roll = functools.partial(motion.roll, scan=jax.lax.scan)
fill = functools.partial(motion.fill, scan=jax.lax.scan)
threatens_start = functools.partial(motion.threatens_start, scan=jax.lax.scan)
BASELINES = {
    name: functools.partial(predict, scan=jax.lax.scan) for name, predict in baselines.BASELINES.items()
}
