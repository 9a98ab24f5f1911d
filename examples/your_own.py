"""Judge a predictor of your own among recorded obstacles: python examples/your_own.py tracks.csv page/"""

import sys

import numpy as np

import hrm_jax


def constant_velocity(seen, horizon):
    """The last step, repeated; docs/your_own.md says what `seen` holds."""
    now, before = seen.history[:, -1], seen.history[:, -2]
    ahead = np.arange(1, horizon + 1)[:, None, None]
    return now[:, None] + ahead * (now - before)[:, None]


tracks, folder = sys.argv[1:]
report = hrm_jax.judge({"mine": constant_velocity}, world=tracks, history=6)
jitted = hrm_jax.judge({"mine": constant_velocity}, world=tracks, history=6, against=(), backend="jit")
assert jitted.data["models"]["mine"]["outcomes"] == report.data["models"]["mine"]["outcomes"]
print(report.table())
report.page(folder)
