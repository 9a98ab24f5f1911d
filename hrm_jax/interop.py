"""PyTorch checkpoints of the originals become our parameters; golden files prove the functions equal.

python -m hrm_jax.interop golden FILE.npz
python -m hrm_jax.interop import FILE.pt|.safetensors|.npz --out model.npz
"""

import functools
import json
import pathlib
import re
import zipfile
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from hrm_jax import export
from hrm_jax.errors import Parser, RequestError, exit_on_request_error

State = dict[str, np.ndarray]  # a PyTorch state_dict: original names and layouts
OUTPUT_TOLERANCE, GRADIENT_TOLERANCE = 1e-5, 1e-4
WRAPPERS = ("module.", "_orig_mod.")  # prefixes of DataParallel / DDP and of torch.compile
FAMILIES = "HRM-cloud's gated or recurrent (embed.*, L_block*.*, H_block*.*, head.*) and lstm (lstm.*, fc.*)"


def convert(state: State, heads: int = 4, k_step: int = 2) -> tuple[dict[str, Any], dict[str, Any]]:
    """A `state_dict` of one of the originals as (model config fields, our parameter tree).

    A pure rearrangement, so a dict of gradients converts the same way. `heads` and `k_step` are not to be
    read off the shapes.
    """
    try:
        if "lstm.weight_ih_l0" in state:
            return _convert_lstm(state)
        if "embed.weight" in state:
            return _convert_hrm(state, heads, k_step)
    except KeyError as error:
        raise RequestError(f"the state_dict lacks {error}; known layouts are {FAMILIES}") from None
    except (ValueError, IndexError) as error:
        raise RequestError(
            f"shapes of the state_dict do not fit ({error}); known layouts are {FAMILIES}"
        ) from None
    raise RequestError(f"unknown state_dict ({', '.join(list(state)[:3])}, …); known layouts are {FAMILIES}")


def _linear(state: State, name: str) -> dict[str, np.ndarray]:
    return {"kernel": state[f"{name}.weight"].T, "bias": state[f"{name}.bias"]}


def _convert_hrm(state: State, heads: int, k_step: int) -> tuple[dict[str, Any], dict[str, Any]]:
    names = {s: _block_names(state, s) for s in ("L", "H")}
    low, high = ([_convert_block(state, name) for name in names[s]] for s in ("L", "H"))
    stacked = [{leaf: np.stack([b[leaf] for b in blocks]) for leaf in blocks[0]} for blocks in (low, high)]
    gated = "gate_kernel" in low[0]
    fields = {
        "name": "hrm",
        "width": state["embed.weight"].shape[0],
        "heads": heads,
        "blocks": len(low),
        "k_step": k_step,
        "block": "gated" if gated else "recurrent",
        "norm_eps": 1e-6 if gated else 1e-12,
    }
    if len(low) != len(high):
        raise RequestError(f"{len(low)} L blocks but {len(high)} H blocks: both streams must be equally deep")
    params = {
        "embed": _linear(state, "embed"),
        "low": stacked[0],
        "high": stacked[1],
        "head": _linear(state, "head"),
    }
    return fields, params


def _block_names(state: State, stream: str) -> list[str]:
    """`L_block` (one block) or `L_blocks.0`, `L_blocks.1`, …"""
    numbers = {int(m[1]) for key in state if (m := re.match(rf"{stream}_blocks\.(\d+)\.", key))}
    return [f"{stream}_blocks.{i}" for i in sorted(numbers)] or [f"{stream}_block"]


def _convert_block(state: State, name: str) -> dict[str, np.ndarray]:
    w = {key.removeprefix(name + "."): a for key, a in state.items() if key.startswith(name + ".")}
    d = w["norm1.g"].shape[0]
    qkv, qkv_bias = w["attn.in_proj_weight"], w["attn.in_proj_bias"]
    block = {
        "norm1": w["norm1.g"],
        "qk_kernel": qkv[: 2 * d].T,
        "qk_bias": qkv_bias[: 2 * d],
        "v_kernel": qkv[2 * d :].T,
        "v_bias": qkv_bias[2 * d :],
        "out_kernel": w["attn.out_proj.weight"].T,
        "out_bias": w["attn.out_proj.bias"],
        "norm2": w["norm2.g"],
        "up_kernel": np.concatenate([w["ffn.w1.weight"], w["ffn.w2.weight"]]).T,
        "down_kernel": w["ffn.w3.weight"].T,
    }
    if "gate.weight" in w:
        block |= {"gate_kernel": w["gate.weight"].T, "gate_bias": w["gate.bias"]}
    return block


def _convert_lstm(state: State) -> tuple[dict[str, Any], dict[str, Any]]:
    count = sum(key.startswith("lstm.weight_ih_l") for key in state)
    params: dict[str, Any] = {"head": _linear(state, "fc")}
    for i in range(count):
        params[f"layer{i}"] = {
            "ih_kernel": state[f"lstm.weight_ih_l{i}"].T,
            "hh_kernel": state[f"lstm.weight_hh_l{i}"].T,
            "ih_bias": state[f"lstm.bias_ih_l{i}"],
            "hh_bias": state[f"lstm.bias_hh_l{i}"],
        }
    return {"name": "lstm", "width": state["fc.weight"].shape[1], "layers": count}, params


def read_state(path: pathlib.Path) -> tuple[State, dict[str, Any]]:
    """The `state_dict` in a .pt, .safetensors or .npz file as float32 NumPy, and a golden file's config/*."""
    if not path.exists():
        raise RequestError(f"{path}: no such file")
    if path.suffix not in READERS:
        raise RequestError(f'{path}: suffix "{path.suffix}"; allowed are {", ".join(READERS)}')
    arrays = READERS[path.suffix](path)
    config = {key.removeprefix("config/"): a.item() for key, a in arrays.items() if key.startswith("config/")}
    if any(key.startswith("state/") for key in arrays):
        arrays = {key.removeprefix("state/"): a for key, a in arrays.items() if key.startswith("state/")}
    return {_unwrapped(key): np.asarray(a, np.float32) for key, a in arrays.items()}, config


def _unwrapped(key: str) -> str:
    for prefix in WRAPPERS:
        key = key.removeprefix(prefix)
    return key


def _read_npz(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise RequestError(f"{path}: not a complete .npz ({error})") from None


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        from safetensors.numpy import load_file
    except ImportError:
        raise RequestError("reading .safetensors needs: pip install safetensors") from None
    try:
        return load_file(path)
    except Exception as error:  # safetensors raises its own type for every kind of damage
        raise RequestError(f"{path}: not a complete .safetensors ({error})") from None


def _read_torch(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError:
        raise RequestError(
            "reading .pt needs PyTorch: pip install torch, or convert to .safetensors"
        ) from None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises several types for damaged and for pickled-code files
        raise RequestError(f"{path}: not a complete PyTorch state_dict ({error})") from None
    for wrapper in ("state_dict", "model_state_dict", "model"):
        content = content.get(wrapper, content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not all(torch.is_tensor(v) for v in content.values()):
        raise RequestError(f"{path}: holds no state_dict (a dict of tensors)")
    return {key: tensor.float().numpy() for key, tensor in content.items()}


READERS = {".npz": _read_npz, ".safetensors": _read_safetensors, ".pt": _read_torch, ".pth": _read_torch}


def build(fields: dict[str, Any], params: dict[str, Any]) -> Any:
    """The flax model of a converted checkpoint; parameters that do not fit it are a `RequestError`."""
    import jax
    import jax.numpy as jnp

    from hrm_jax import models

    model = models.build(fields)
    expected = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 1, 2, 2)))["params"]
    for name, leaf in flatten_dict(expected, sep="/").items():
        found, wanted = export.flatten(params)[name].shape, leaf.shape
        if found != wanted:
            raise RequestError(f"{name} has shape {list(found)}, {fields['name']} wants {list(wanted)}")
    return model


def golden(path: pathlib.Path) -> int:
    """Print the largest relative error of every output and gradient of a golden file; 1 above tolerance."""
    arrays = _read_golden(path)
    state, config = read_state(path)
    family = str(config.get("family", ""))
    if not family.startswith("hrm-cloud/"):
        raise RequestError(
            f'{path}: family "{family}"; allowed are hrm-cloud/gated, hrm-cloud/recurrent, hrm-cloud/lstm'
        )
    options = config.get("heads", 4), config.get("k_step", 2)
    fields, params = convert(state, *options)
    fields["unroll"] = 1  # almost all the time here is compilation
    recorded = {key.removeprefix("grad/"): a for key, a in arrays.items() if key.startswith("grad/")}
    expected = {"out/y": arrays["out/y"], "out/loss": arrays["out/loss"]}
    gradients = export.flatten(convert(recorded, *options)[1])
    expected |= {f"grad/{name}": leaf for name, leaf in gradients.items()}
    report, failed = _compare(_compute(fields, params, arrays["in/x"]), expected)
    if failed and fields["name"] == "hrm":
        # Shapes do not tell whether the original stopped the gradient from H into L; its gradients do.
        other, still = _compare(_compute({**fields, "detach": False}, params, arrays["in/x"]), expected)
        if not still:
            report, failed = other + ["(the H input is not detached)"], False
    print("\n".join(report))
    return int(failed)


def _compute(fields: dict[str, Any], params: dict[str, Any], x: np.ndarray) -> dict[str, np.ndarray]:
    """Output, loss = mean(y²) and its gradients, by the names they have in the report."""
    import jax

    with jax.default_matmul_precision("highest"):
        (value, y), gradients = _differentiated(build(fields, params))(params, x[:, None])
    gradients = {f"grad/{name}": leaf for name, leaf in export.flatten(gradients).items()}
    return {"out/y": np.asarray(y), "out/loss": np.asarray(value), **gradients}


@functools.cache
def _differentiated(model: Any) -> Any:
    """(params, history [B, 1, T, 2]) -> ((loss, output [B, 2]), gradients), compiled once a model."""
    import jax
    import jax.numpy as jnp

    def loss(params, history):
        y = model.apply({"params": params}, history)[:, 0]
        return jnp.mean(y * y), y

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


def _read_golden(path: pathlib.Path) -> dict[str, np.ndarray]:
    if path.suffix != ".npz" or not path.exists():
        raise RequestError(f"{path}: golden takes an existing .npz file (see shared/golden)")
    arrays = _read_npz(path)
    for key in ("in/x", "out/y", "out/loss", "config/family"):
        if key not in arrays:
            raise RequestError(f'{path}: no golden predictor file: "{key}" is missing')
    return arrays


def _compare(ours: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> tuple[list[str], bool]:
    """A line for every name, and whether any error, relative to the largest magnitude, exceeds tolerance.

    Where exact zeros are expected (dead queries and keys) nothing but zeros will do.
    """
    lines, failed = [], False
    for name, value in expected.items():
        tolerance = GRADIENT_TOLERANCE if name.startswith("grad/") else OUTPUT_TOLERANCE
        scale = np.abs(value.astype(np.float64)).max()
        tolerance = tolerance if scale else 0.0
        error = np.abs(ours[name].astype(np.float64) - value).max() / (scale or 1.0)
        bad = not error <= tolerance
        lines.append(f"{name:<24} {error:.2e}  (tolerance {tolerance:g}){'  FAILED' if bad else ''}")
        failed |= bad
    return lines, failed


def import_checkpoint(path: pathlib.Path, out: pathlib.Path, heads: int, k_step: int, history: int) -> None:
    """Write the original's checkpoint `path` as our `model.npz`."""
    from hrm_jax import models

    state, config = read_state(path)
    fields, params = convert(state, config.get("heads", heads), config.get("k_step", k_step))
    fields = models.describe(build(fields, params))
    export.write_model(
        out, params, {"model": fields, "world": {"size": 20}, "history": history, "source": path.name}
    )
    count = sum(a.size for a in export.flatten(params).values())
    print(f"{out}: {fields['name']}, {count:,} parameters, {json.dumps(fields)}")


def main() -> int:
    """Command line; see the module docstring."""
    parser = Parser(prog="python -m hrm_jax.interop", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)
    check = commands.add_parser("golden", help="check outputs and gradients against a golden file")
    check.add_argument("file", type=pathlib.Path)
    imp = commands.add_parser("import", help="convert a PyTorch checkpoint into model.npz")
    imp.add_argument("file", type=pathlib.Path)
    imp.add_argument("--out", type=pathlib.Path, required=True)
    imp.add_argument("--heads", type=int, default=4, help="attention heads (not in the file)")
    imp.add_argument("--k_step", type=int, default=2, help="steps between two H updates (not in the file)")
    imp.add_argument("--history", type=int, default=20, help="steps of history (not in the file)")
    args = parser.parse_args()
    if args.command == "golden":
        return golden(args.file)
    import_checkpoint(args.file, args.out, args.heads, args.k_step, args.history)
    return 0


if __name__ == "__main__":
    exit_on_request_error(main)
