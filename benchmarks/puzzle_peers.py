"""HRM with ACT, and TRM, written plainly in PyTorch (2506.21734, 2510.04871; docs/models.md), with an update.

Benchmarks, and tests of functions and gradients, compare with them. Parameter names are those of HRM's code,
so `hrm_jax.interop.checkpoints.convert` gives ours the same weights.
"""

import torch
from torch import nn
from torch.nn import functional


class Weight(nn.Module):
    """A matrix under the name that the original gives it."""

    def __init__(self, name: str, *shape: int):
        super().__init__()
        self.register_parameter(name, nn.Parameter(torch.randn(shape) / shape[-1] ** 0.5))


class GatedUnit(nn.Module):
    """down(silu(gate) * value) of width D, without biases."""

    def __init__(self, width: int, inner: int):
        super().__init__()
        self.gate_up_proj = nn.Linear(width, 2 * inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate, value = self.gate_up_proj(x).chunk(2, dim=-1)
        return self.down_proj(functional.silu(gate) * value)


class SelfAttention(nn.Module):
    """Attention over all T positions [B, T, D], with rope where (cos, sin) [T, D / heads] are given."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv_proj = nn.Linear(width, 3 * width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)

    def forward(self, x: torch.Tensor, rope: tuple[torch.Tensor, torch.Tensor] | None) -> torch.Tensor:
        batch, length, width = x.shape
        packed = self.qkv_proj(x).view(batch, length, 3 * self.heads, width // self.heads).transpose(1, 2)
        q, k, v = packed.split(self.heads, dim=1)
        if rope is not None:
            q, k = turned(q, *rope), turned(k, *rope)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        return self.o_proj(mixed.transpose(1, 2).reshape(batch, length, width))


def turned(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """RoPE of x [..., T, C]: component i turns with component i + C / 2."""
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-b, a], dim=-1) * sin


class PuzzleBlock(nn.Module):
    """Attention, or a gated unit across the positions, then a gated unit; a norm without gain after each."""

    def __init__(self, width: int, heads: int, inner: int, mixer: tuple[int, int] | None, eps: float):
        super().__init__()
        self.eps = eps
        if mixer:
            self.mlp_t = GatedUnit(*mixer)
        else:
            self.self_attn = SelfAttention(width, heads)
        self.mlp = GatedUnit(width, inner)

    def forward(self, x: torch.Tensor, rope) -> torch.Tensor:
        if hasattr(self, "mlp_t"):
            t = x.transpose(1, 2)
            x = normed(t + self.mlp_t(t), self.eps).transpose(1, 2)
        else:
            x = normed(x + self.self_attn(x, rope), self.eps)
        return normed(x + self.mlp(x), self.eps)


def normed(x: torch.Tensor, eps: float) -> torch.Tensor:
    """x over its root mean square."""
    return functional.rms_norm(x, x.shape[-1:], eps=eps)


class PuzzleModule(nn.Module):
    """Blocks one after another."""

    def __init__(self, layers: int, *block):
        super().__init__()
        self.layers = nn.ModuleList(PuzzleBlock(*block) for _ in range(layers))

    def forward(self, x: torch.Tensor, rope) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x, rope)
        return x


class PuzzleNetwork(nn.Module):
    """One segment of HRM-ACT or TRM; `config` has the fields of our HRMACTConfig.

    (tokens [B, S], puzzle ids [B], high, low [B, T, D]) -> high, low, logits [B, S, V], q [B, 2].
    """

    def __init__(self, config, identifiers: int = 1):
        super().__init__()
        self.config = c = config
        length = c.prefix + c.sequence
        mixer = (length, c.inner(length)) if c.mixer else None
        block = (c.width, c.heads, c.inner(c.width), mixer, c.norm_eps)
        self.embed_tokens = Weight("embedding_weight", c.vocabulary, c.width)
        if c.positions == "learned":
            self.embed_pos = Weight("embedding_weight", length, c.width)
        self.L_level = PuzzleModule(c.low_layers, *block)
        if not c.shared:
            self.H_level = PuzzleModule(c.high_layers, *block)
        self.lm_head = nn.Linear(c.width, c.vocabulary, bias=False)
        self.q_head = nn.Linear(c.width, 2)
        self.register_buffer("H_init", torch.randn(c.width))
        self.register_buffer("L_init", torch.randn(c.width))
        if c.puzzle_width:
            self.puzzle_emb = Weight("weights", identifiers, c.puzzle_width)
        if c.positions == "rope":
            frequency = c.theta ** (-torch.arange(0, c.width // c.heads, 2) / (c.width // c.heads))
            angle = torch.outer(torch.arange(length), frequency).repeat(1, 2)
            self.register_buffer("cos", angle.cos(), persistent=False)
            self.register_buffer("sin", angle.sin(), persistent=False)

    def initial(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The state before the first segment: high and low."""
        shape = (count, self.config.prefix + self.config.sequence, -1)
        return self.H_init.expand(shape), self.L_init.expand(shape)

    def encode(self, inputs: torch.Tensor, puzzle: torch.Tensor) -> torch.Tensor:
        """[B, T, D]: the puzzles' rows in the prefix, the cells' tokens after it."""
        c = self.config
        x = self.embed_tokens.embedding_weight[inputs]
        if c.prefix:
            rows = self.puzzle_emb.weights[puzzle] if c.puzzle_width else x.new_zeros(len(x), 0)
            rows = functional.pad(rows, (0, c.prefix * c.width - rows.shape[1]))
            x = torch.cat([rows.view(-1, c.prefix, c.width), x], dim=1)
        if c.positions == "learned":
            x = 0.5**0.5 * (x + self.embed_pos.embedding_weight)
        return c.width**0.5 * x

    def forward(self, inputs: torch.Tensor, puzzle: torch.Tensor, high: torch.Tensor, low: torch.Tensor):
        c = self.config
        rope = (self.cos, self.sin) if c.positions == "rope" else None
        low_module, high_module = self.L_level, self.L_level if c.shared else self.H_level
        x = self.encode(inputs, puzzle)
        calls = [name for _ in range(c.h_cycles) for name in (*"L" * c.l_cycles, "H")]
        learning = 2 if c.grad == "one_step" else c.l_cycles + 1
        for i, name in enumerate(calls):
            with torch.set_grad_enabled(torch.is_grad_enabled() and i >= len(calls) - learning):
                if name == "L":
                    low = low_module(low + high + x, rope)
                else:
                    high = high_module(high + low, rope)
        return high.detach(), low.detach(), self.lm_head(high[:, c.prefix :]), self.q_head(high[:, 0])


def stablemax_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """-log(s(x_label) / sum of s(x)), s(x) = 1 + x from 0 up and 1 / (1 - x) below: [..., V] to [...]."""
    s = torch.where(logits >= 0, logits + 1, 1 / (1 - logits.clamp(max=0)))
    p = s / s.sum(-1, keepdim=True)
    return -p.gather(-1, labels[..., None])[..., 0].log()


class AdamATan2(torch.optim.Optimizer):
    """AdamATan2 (docs/models.md#optimizers): all tensors in one call, as the package's fused kernel does."""

    def __init__(self, parameters, lr: float, betas: tuple[float, float], weight_decay: float):
        super().__init__(parameters, {"lr": lr, "betas": betas, "weight_decay": weight_decay})
        self.count = 0

    @torch.no_grad()
    def step(self) -> None:
        self.count += 1
        for group in self.param_groups:
            parameters, (b1, b2) = group["params"], group["betas"]
            gradients = [p.grad for p in parameters]
            if "m" not in group:
                group["m"], group["v"] = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_lerp_(group["m"], gradients, 1 - b1)
            torch._foreach_mul_(group["v"], b2)
            torch._foreach_addcmul_(group["v"], gradients, gradients, 1 - b2)
            roots = torch._foreach_sqrt(torch._foreach_div(group["v"], 1 - b2**self.count))
            for p, m, root in zip(parameters, group["m"], roots, strict=True):
                p.sub_(torch.atan2(m, root), alpha=group["lr"] / (1 - b1**self.count))


def puzzle_step(model: PuzzleNetwork, inputs, labels, puzzle, compiled: bool, segments: int = 16):
    """A function that makes one update (docs/models.md#adaptive-computation) and returns the loss before it.

    All slots hold the same B puzzles [B, S], again and again; one that halts begins anew. Settings are the
    official ones; exploration is left out.
    """
    table = model.puzzle_emb.weights
    dense = [p for p in model.parameters() if p is not table]
    optimizer = AdamATan2(dense, lr=5e-8, betas=(0.9, 0.95), weight_decay=1.0)
    forward = torch.compile(model) if compiled else model
    fresh = model.initial(len(inputs))
    high, low = (a.clone() for a in fresh)
    steps = torch.zeros(len(inputs), dtype=torch.int32)
    bce = functional.binary_cross_entropy_with_logits

    def step() -> torch.Tensor:
        nonlocal high, low, steps
        high, low, logits, q = forward(inputs, puzzle, high, low)
        steps = steps + 1
        last = steps >= segments
        loss = stablemax_cross_entropy(logits, labels).mean(1).mean()
        right = (logits.argmax(-1) == labels).all(1).float()
        loss = loss + 0.5 * bce(q[:, 0], right)
        halted = last | (q[:, 0] > (q[:, 1] if model.config.q_continue else 0))
        if model.config.q_continue:
            with torch.no_grad():
                following = forward(inputs, puzzle, high, low)[3]
                target = torch.where(last, following[:, 0], following.amax(1)).sigmoid()
            loss = loss + 0.5 * bce(q[:, 1], target)
        optimizer.zero_grad(set_to_none=True)
        table.grad = None
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            used = puzzle.unique()
            table[used] = table[used] * (1 - 5e-8) - 5e-8 * table.grad[used].sign()
            again = halted[:, None, None]
            high, low = (torch.where(again, a, b) for a, b in zip(fresh, (high, low), strict=True))
            steps = torch.where(halted, 0, steps)
        return loss.detach()

    return step
