"""PyTorch checkpoints of the originals become our parameters; golden files prove the functions equal.

python -m hrm_jax.interop golden FILE.npz
python -m hrm_jax.interop import FILE.pt|.safetensors|.npz --out model.npz
"""

import functools
import json
import math
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
FAMILIES = (
    "HRM-cloud's gated or recurrent (embed.*, L_block*.*, H_block*.*, head.*), lstm (lstm.*, fc.*) and path "
    "denoiser v2 (map_enc.*, coord_enc.*, time_mlp.*, down1.*, …)"
)
GOLDEN_FAMILIES = ("hrm-cloud/gated", "hrm-cloud/recurrent", "hrm-cloud/lstm", "diffusion/v2")
DENOISER_PLAN = {  # how the original plans with its denoiser: `plan` of the written model.npz
    "sampler": "published",
    "steps": 100,
    "samples": 10,
    "map_guidance": 1.0,
    "forecast": "none",
    "cost_guidance": 0,
    "refine": 40,
    "replan": 0,
    "warm": 1.0,
    "seed": 0,
}


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
        if "map_enc.0.weight" in state:
            return _convert_denoiser(state, heads)
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


def _convert_denoiser(state: State, heads: int) -> tuple[dict[str, Any], dict[str, Any]]:
    from hrm_jax.models.diffusion import PUBLISHED

    width = state["down1.conv1.weight"].shape[0]
    reduced = math.isqrt(state["map_enc.7.weight"].shape[1] // (2 * width))  # cells that the encoder leaves
    fields = {"name": "path_unet", "size": 8 * reduced, "width": width, "heads": heads, **PUBLISHED}
    params = {
        "map": _convert_map_encoder(state, reduced),
        "ends": _linear(state, "coord_enc"),
        "time": {
            f"linear{i}_{leaf}": array
            for i in range(3)
            for leaf, array in _linear(state, f"time_mlp.{2 * i}").items()
        },
        "out": {"kernel": _taps(state["out.weight"]), "bias": state["out.bias"]},
    }
    blocks = {"down1": "down1", "down2": "down2", "middle2": "mid2", "up1": "up1", "up2": "up2"}
    params |= {ours: _convert_residual(state, theirs) for ours, theirs in blocks.items()}
    params["middle1"] = _convert_residual(state, "mid1", path=2 * width)
    attentions = {"attention1": "attn1", "attention2": "mid_attn", "attention3": "attn2"}
    return fields, params | {ours: _convert_attention(state, theirs) for ours, theirs in attentions.items()}


def _convert_map_encoder(state: State, reduced: int) -> dict[str, np.ndarray]:
    """Convolutions (out, in, row, column) to channels last; the linear layer behind them likewise."""
    last = state["map_enc.7.weight"]
    last = last.reshape(len(last), -1, reduced, reduced).transpose(2, 3, 1, 0).reshape(-1, len(last))
    params = {"kernel": last, "bias": state["map_enc.7.bias"]}
    for i in range(3):
        params[f"conv{i}_kernel"] = state[f"map_enc.{2 * i}.weight"].transpose(2, 3, 1, 0)
        params[f"conv{i}_bias"] = state[f"map_enc.{2 * i}.bias"]
    return params


def _taps(kernel: np.ndarray) -> np.ndarray:
    """A 1-D convolution's kernel (out, in, tap) as one matrix (tap and in, out)."""
    return kernel.transpose(2, 1, 0).reshape(-1, len(kernel))


def _convert_residual(state: State, name: str, path: int | None = None) -> dict[str, np.ndarray]:
    """A residual block; input channels from `path` on are constant along the path."""
    first = state[f"{name}.conv1.weight"]
    block = {
        "conv1_kernel": _taps(first[:, :path]),
        "conv1_bias": state[f"{name}.conv1.bias"],
        "conv2_kernel": _taps(state[f"{name}.conv2.weight"]),
        "conv2_bias": state[f"{name}.conv2.bias"],
        "time_kernel": state[f"{name}.time_proj.weight"].T,
        "time_bias": state[f"{name}.time_proj.bias"],
    }
    for norm in ("norm1", "norm2"):
        block |= {norm: state[f"{name}.{norm}.weight"], f"{norm}_bias": state[f"{name}.{norm}.bias"]}
    if path is not None:
        block["code_kernel"] = first[:, path:].transpose(2, 1, 0)
    if f"{name}.skip.weight" in state:
        block["skip_kernel"] = _taps(state[f"{name}.skip.weight"])
        block["skip_bias"] = state[f"{name}.skip.bias"]
    return block


def _convert_attention(state: State, name: str) -> dict[str, np.ndarray]:
    return {
        "norm": state[f"{name}.norm.weight"],
        "norm_bias": state[f"{name}.norm.bias"],
        "qkv_kernel": _taps(state[f"{name}.qkv.weight"]),
        "qkv_bias": state[f"{name}.qkv.bias"],
        "out_kernel": _taps(state[f"{name}.proj.weight"]),
        "out_bias": state[f"{name}.proj.bias"],
    }


def read_state(path: pathlib.Path) -> tuple[State, dict[str, Any]]:
    """The `state_dict` in a .pt, .safetensors or .npz file as float32 NumPy, and a golden file's config/*."""
    if not path.exists():
        raise RequestError(f"{path}: no such file")
    if path.suffix not in READERS:
        raise RequestError(f'{path}: suffix "{path.suffix}"; allowed are {", ".join(READERS)}')
    arrays = READERS[path.suffix](path)
    config = {key.removeprefix("config/"): a.item() for key, a in arrays.items() if key.startswith("config/")}
    if {"names", "shapes", "seed"} <= arrays.keys():
        arrays = _redrawn(path, arrays)
    if any(key.startswith("state/") for key in arrays):
        arrays = {key.removeprefix("state/"): a for key, a in arrays.items() if key.startswith("state/")}
    return {_unwrapped(key): np.asarray(a, np.float32) for key, a in arrays.items()}, config


def _redrawn(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> State:
    """Weights of a golden file that stores only their names, shapes and seed (shared/golden/README.md)."""
    try:
        rng = np.random.default_rng(int(arrays["seed"]))
        shapes = [tuple(map(int, re.findall(r"\d+", str(shape)))) for shape in arrays["shapes"]]
        return {str(name): _draw(rng, str(name), s) for name, s in zip(arrays["names"], shapes, strict=True)}
    except (ValueError, TypeError) as error:
        raise RequestError(f"{path}: names, shapes and seed do not make weights ({error})") from None


def _draw(rng: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
    x = rng.standard_normal(shape).astype(np.float32)
    if len(shape) > 1:
        return (x / math.sqrt(math.prod(shape[1:]))).astype(np.float32)
    return (1 + 0.1 * x if "norm" in name and name.endswith("weight") else 0.1 * x).astype(np.float32)


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
    from hrm_jax.models import diffusion

    if fields["name"] in diffusion.DENOISERS:
        model = diffusion.build(fields)
        expected = jax.eval_shape(functools.partial(diffusion.initial, model), jax.random.key(0))
    else:
        model = models.build(fields)
        expected = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 1, 2, 2)))["params"]
    expected, leaves = flatten_dict(expected, sep="/"), export.flatten(params)
    for name in sorted(expected.keys() ^ leaves.keys()):
        problem = "lacks" if name in expected else "has, beside what is known,"
        raise RequestError(f"the state_dict {problem} {name}; known layouts are {FAMILIES}")
    for name, leaf in expected.items():
        found, wanted = leaves[name].shape, leaf.shape
        if found != wanted:
            raise RequestError(f"{name} has shape {list(found)}, {fields['name']} wants {list(wanted)}")
    return model


def golden(path: pathlib.Path) -> int:
    """Print the largest relative error of every output and gradient of a golden file; 1 above tolerance."""
    arrays = _read_golden(path)
    state, config = read_state(path)
    check = _golden_denoiser if config["family"] == "diffusion/v2" else _golden_predictor
    report, failed = check(arrays, state, config)
    print("\n".join(report))
    return int(failed)


def _golden_predictor(
    arrays: dict[str, np.ndarray], state: State, config: dict[str, Any]
) -> tuple[list[str], bool]:
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
    return report, failed


def _golden_denoiser(
    arrays: dict[str, np.ndarray], state: State, config: dict[str, Any]
) -> tuple[list[str], bool]:
    """The output alone: no gradients are recorded of the denoiser."""
    import jax

    fields, params = convert(state, config.get("heads", 4))
    x, t, grid, ends = (arrays[f"in/{name}"] for name in ("x", "t", "grid", "sg"))
    with jax.default_matmul_precision("highest"):
        denoised = _denoised(build(fields, params))
        y = denoised(params, np.moveaxis(x, 1, -1), t[:, 0], np.moveaxis(grid, 1, -1), ends)
    return _compare({"out/y": np.moveaxis(np.asarray(y), -1, 1)}, {"out/y": arrays["out/y"]})


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


@functools.cache
def _denoised(model: Any) -> Any:
    """(params, x [B, P, 2], t [B], maps [B, R, R, 1], ends [B, 4]) -> [B, P, 2], compiled once a model."""
    import jax

    def run(params, x, t, maps, ends):
        code = model.apply({"params": params}, maps, ends, method="encode")
        return model.apply({"params": params}, x, t, code)

    return jax.jit(run)


def _read_golden(path: pathlib.Path) -> dict[str, np.ndarray]:
    if path.suffix != ".npz" or not path.exists():
        raise RequestError(f"{path}: golden takes an existing .npz file (see shared/golden)")
    arrays = _read_npz(path)
    family = str(arrays.get("config/family", ""))
    if "config/family" in arrays and family not in GOLDEN_FAMILIES:
        raise RequestError(f'{path}: family "{family}"; allowed are {", ".join(GOLDEN_FAMILIES)}')
    required = ["config/family", "in/x", "out/y"]
    if family == "diffusion/v2":
        required += ["in/t", "in/grid", "in/sg", "names", "shapes", "seed"]
    else:
        required += ["out/loss"]
    for key in required:
        if key not in arrays:
            raise RequestError(f'{path}: no golden {family or "file"}: "{key}" is missing')
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
    state, config = read_state(path)
    fields, params = convert(state, config.get("heads", heads), config.get("k_step", k_step))
    description = _describe(build(fields, params), history)
    export.write_model(out, params, {**description, "source": path.name})
    count, fields = sum(a.size for a in export.flatten(params).values()), description["model"]
    print(f"{out}: {fields['name']}, {count:,} parameters, {json.dumps(fields)}")


def _describe(model: Any, history: int) -> dict[str, Any]:
    """What a model.npz says of `model`, and of the world that the original trained it in."""
    from hrm_jax import models
    from hrm_jax.models import diffusion

    if not isinstance(model, diffusion.Denoiser):
        return {"model": models.describe(model), "world": {"size": 20}, "history": history}
    fields = diffusion.describe(model)
    world = {name: fields[name] for name in ("size", "obstacle_radius")}
    return {"task": "diffusion", "model": fields, "plan": DENOISER_PLAN, "world": world}


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
