"""The published 12x12 Pointer over Heads as it was run: 7,040,825 parameters, four passes, walls unseen.

    python -m hrm_jax.puzzles lattice --published --out data/pot
    python -m hrm_jax.train --config configs/pot_poh.py --workdir runs/pot_poh

67.90 % accuracy and 51.85 % optimality were published; see configs/pot_baseline.py for the floors. The
controller starts anew in every pass, its slow state never learns, and slices of the attention's output are
routed, not heads (docs/faults.md, P4 to P7).
"""

from configs import base


def get_config():
    """See the module docstring."""
    c = base.get_config()
    base.published_lattice(c)
    c.model.update(
        width=320,
        heads=5,
        hidden=1280,
        passes=4,
        routing="soft",
        scaled=False,
        routed="slices",
        standardised=False,
        stateless=True,
        stop_grad_slow=True,
        update="rezero",
        norm="pre",
        ffn_bias=False,
        positions="each",
        position_rows=512,
    )
    return c
