"""The published predictors and the denoiser written plainly in PyTorch (formulas: docs/models.md).

Benchmarks, and tests of functions and gradients, compare with them.

Parameter names are the originals', so `hrm_jax.interop.checkpoints.convert` gives ours the same weights.
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
    """The published path denoiser v2 with the parameters `state`, channels first as in the original.

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
