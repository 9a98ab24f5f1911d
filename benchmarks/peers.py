"""The published networks written plainly in PyTorch (formulas: docs/models.md).

Benchmarks, and tests of functions and gradients, compare with them.

Parameter names are the originals', so `hrm_jax.interop.convert` gives ours the same weights.
"""

import torch
from torch import nn
from torch.nn import functional

MIX = 0.7071


class PublishedNorm(nn.Module):
    """Gain * x / (sqrt(D) * |x|): the originals' norm, fault included."""

    def __init__(self, width: int):
        super().__init__()
        self.g = nn.Parameter(torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        length = x.norm(dim=-1, keepdim=True).clamp_min(1e-6)
        return self.g * x / (length * x.shape[-1] ** 0.5)


class SwiGLU(nn.Module):
    """w3(silu(w1 x) * w2 x), without biases."""

    def __init__(self, width: int):
        super().__init__()
        hidden = int(2.6 * width)
        self.w1 = nn.Linear(width, hidden, bias=False)
        self.w2 = nn.Linear(width, hidden, bias=False)
        self.w3 = nn.Linear(hidden, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.w3(functional.silu(self.w1(x)) * self.w2(x))


class GatedBlock(nn.Module):
    """Message and state [B, 1, D] to the output that is both; the attention sees one token."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1, self.norm2 = PublishedNorm(width), PublishedNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ffn = SwiGLU(width)
        self.gate = nn.Linear(2 * width, width)

    def forward(self, message: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        h = MIX * (message + state)
        n = self.norm1(h)
        h = h + self.attn(n, n, n, need_weights=False)[0]
        candidate = h + self.ffn(self.norm2(h))
        z = torch.sigmoid(self.gate(torch.cat([candidate, state], dim=-1)))
        return z * candidate + (1 - z) * state


class HRM(nn.Module):
    """[B, T, 2] to [B, 2]: the L stream every step, the H stream every k-th."""

    def __init__(self, width: int, blocks: int, heads: int, k_step: int):
        super().__init__()
        self.k_step = k_step
        self.embed = nn.Linear(2, width)
        self.L_blocks = nn.ModuleList(GatedBlock(width, heads) for _ in range(blocks))
        self.H_blocks = nn.ModuleList(GatedBlock(width, heads) for _ in range(blocks))
        self.head = nn.Linear(width, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        embedded = self.embed(x)
        zero = torch.zeros_like(embedded[:, :1])
        low, high = [zero] * len(self.L_blocks), [zero] * len(self.H_blocks)
        for t in range(x.shape[1]):
            if t % self.k_step == 0:
                high = climb(self.H_blocks, low[-1].detach(), high)
            low = climb(self.L_blocks, embedded[:, t : t + 1] + high[-1], low)
        return self.head(low[-1])[:, 0]


def climb(blocks: nn.ModuleList, message: torch.Tensor, states: list[torch.Tensor]) -> list[torch.Tensor]:
    """Send a message up a stream; the new states."""
    updated = []
    for block, state in zip(blocks, states, strict=True):
        message = block(message, state)
        updated.append(message)
    return updated


class LSTM(nn.Module):
    """[B, T, 2] to [B, 2]: two layers and a linear head on the last output."""

    def __init__(self, width: int, layers: int = 2):
        super().__init__()
        self.lstm = nn.LSTM(2, width, layers, batch_first=True)
        self.fc = nn.Linear(width, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.lstm(x)[0][:, -1])


def training_step(model: nn.Module, compiled: bool):
    """(x, target) -> loss, after one update: clip at 1.0, AdamW."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01, fused=True)
    forward = torch.compile(model) if compiled else model

    def step(x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        loss = functional.mse_loss(forward(x), target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    return step


def published_denoiser(
    state: dict[str, torch.Tensor],
    x: torch.Tensor,
    t: torch.Tensor,
    grid: torch.Tensor,
    ends: torch.Tensor,
    heads: int = 4,
    groups: int = 8,
) -> torch.Tensor:
    """The path denoiser v2 with the parameters `state`, channels first as in the original.

    x [B, 2, P], t [B, 1], grid [B, 1, R, R], ends [B, 4]; the noise [B, 2, P].
    """

    def linear(name, h):
        return functional.linear(h, state[f"{name}.weight"], state[f"{name}.bias"])

    def conv(name, h, padding=1):
        return functional.conv1d(h, state[f"{name}.weight"], state[f"{name}.bias"], padding=padding)

    def norm(name, h):
        return functional.group_norm(h, groups, state[f"{name}.weight"], state[f"{name}.bias"])

    def block(name, h):
        inner = functional.silu(norm(f"{name}.norm1", conv(f"{name}.conv1", h)))
        inner = inner + linear(f"{name}.time_proj", time)[:, :, None]
        inner = functional.silu(norm(f"{name}.norm2", conv(f"{name}.conv2", inner)))
        return inner + (conv(f"{name}.skip", h, 0) if f"{name}.skip.weight" in state else h)

    def attend(name, h):
        packed = conv(f"{name}.qkv", norm(f"{name}.norm", h), 0)
        q, k, v = packed.reshape(len(h), 3, heads, -1, h.shape[-1]).transpose(-1, -2).unbind(1)
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(-1, -2)
        return h + conv(f"{name}.proj", mixed.reshape(h.shape), 0)

    seen = grid
    for i, padding in ((0, 2), (2, 2), (4, 1)):
        weight, bias = state[f"map_enc.{i}.weight"], state[f"map_enc.{i}.bias"]
        seen = functional.silu(functional.conv2d(seen, weight, bias, stride=2, padding=padding))
    code = torch.cat([linear("map_enc.7", seen.flatten(1)), linear("coord_enc", ends)], dim=1)
    time = linear("time_mlp.0", t)
    for i in (2, 4):
        time = linear(f"time_mlp.{i}", functional.silu(time))
    h1 = block("down1", x)
    h2 = attend("attn1", block("down2", h1))
    code = code[:, : h2.shape[1], None].expand(-1, -1, x.shape[-1])
    h = block("mid2", attend("mid_attn", block("mid1", torch.cat([h2, code], dim=1))))
    h = block("up2", torch.cat([block("up1", torch.cat([h, h2], dim=1)), h1], dim=1))
    return conv("out", attend("attn2", h))


# ---------------------------------------------------------------- HRM-ACT and TRM


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
    """AdamATan2 (docs/models.md#optimizers), all tensors in one call, as its fused kernel does."""

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
