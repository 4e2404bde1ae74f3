"""A vision transformer with timm's parameter names, and an attention whose width pruning may change.

Dosovitskiy et al., "An Image is Worth 16×16 Words", ICLR 2021 (arXiv 2010.11929): square patches, learnt positions,
pre-norm blocks, then a linear classifier on the class token or on the mean of the patches. The names and shapes of all
parameters are those of timm's `VisionTransformer`, so that its state dict loads strictly and gives the same outputs.
The one difference: here the attention width a = heads·head_dim is free of the residual width d.

The class token, or the mean of the patches, is taken before the last norm, which then has one row to normalise. That is
the same: the norm works row by row. It is not where the mean is of normalised patches (`normed_mean`).

Shapes in comments: b batch, s tokens, d residual width, a attention width, p patch size.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from catransformers.models.families.layers import ACTIVATIONS, self_attention, with_biases
from catransformers.models.families.net import Batch, Net, Stack
from catransformers.workloads.dimensions import VisionSpec
from catransformers.workloads.vit import VitSpec

_BLOCK_AXES = with_biases(
    {
        "norm1": ("embed",),
        "attn.qkv": ("qkv", "embed"),
        "attn.proj": ("embed", "attention"),
        "norm2": ("embed",),
        "mlp.fc1": ("ffn", "embed"),
        "mlp.fc2": ("embed", "ffn"),
    }
)


class PatchEmbed(nn.Module):
    """Every p × p patch of an image to a token."""

    def __init__(self, spec: VisionSpec) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, spec.embed_dim, kernel_size=spec.patch_size, stride=spec.patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """(b, 3, height, width) in, (b, patches, d) out."""
        out: Tensor = self.proj(images.to(self.proj.weight.dtype)).flatten(2).transpose(1, 2)
        return out


class Attention(nn.Module):
    """Multi-head self-attention of width a on a residual stream of width d; rows of `qkv` are Q, K, V, each (h, e)."""

    def __init__(self, spec: VisionSpec) -> None:
        super().__init__()
        self.heads, self.head_dim = spec.heads, spec.head_dim
        self.qkv = nn.Linear(spec.embed_dim, 3 * spec.attention_dim)
        self.proj = nn.Linear(spec.attention_dim, spec.embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        """(b, s, d) in, (b, s, d) out."""
        out: Tensor = self.proj(self_attention(self.qkv(x), self.heads, self.head_dim))
        return out


class Mlp(nn.Module):
    """The feed-forward half of a block."""

    def __init__(self, spec: VisionSpec, activation: str) -> None:
        super().__init__()
        self.fc1 = nn.Linear(spec.embed_dim, spec.ffn_dim)
        self.act = ACTIVATIONS[activation]()
        self.fc2 = nn.Linear(spec.ffn_dim, spec.embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        """(b, s, d) in, (b, s, d) out."""
        out: Tensor = self.fc2(self.act(self.fc1(x)))
        return out


class Block(nn.Module):
    """One pre-norm block: x + attention(norm(x)), then x + FFN(norm(x))."""

    def __init__(self, spec: VitSpec) -> None:
        super().__init__()
        d = spec.encoder.embed_dim
        self.norm1 = nn.LayerNorm(d, eps=spec.norm_eps)
        self.attn = Attention(spec.encoder)
        self.norm2 = nn.LayerNorm(d, eps=spec.norm_eps)
        self.mlp = Mlp(spec.encoder, spec.activation)

    def forward(self, x: Tensor) -> Tensor:
        """(b, s, d) in, (b, s, d) out."""
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class Vit(Net):
    """A vision transformer of any (pruned) spec.

    Args:
        spec: its dimensions. Weights start as timm's do (from torch's global generator).

    Raises:
        InputError: if the tokens do not follow from image, patches and class token, or the class token that shall be
            pooled is not there; all at once.
    """

    spec: VitSpec

    def __init__(self, spec: VitSpec) -> None:
        super().__init__()
        self.spec = spec
        e, d = spec.encoder, spec.encoder.embed_dim
        spec.problems().finish()
        if spec.class_token:
            self.cls_token = nn.Parameter(torch.empty(1, 1, d))
        self.pos_embed = nn.Parameter(torch.empty(1, e.tokens, d))
        self.patch_embed = PatchEmbed(e)
        self.blocks = nn.ModuleList(Block(spec) for _ in range(e.layers))
        norm = nn.LayerNorm(d, eps=spec.norm_eps)
        self.norm = nn.Identity() if spec.pooling == "mean" else norm
        self.fc_norm = norm if spec.pooling == "mean" else nn.Identity()
        self.head = nn.Linear(d, spec.classes) if spec.classes else nn.Identity()
        self._initialise()

    def _initialise(self) -> None:
        """Truncated normal weights and positions, a class token near zero, biases zero, norms the identity."""
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        if self.spec.class_token:
            nn.init.normal_(self.cls_token, std=1e-6)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Images (b, 3, height, width) to logits (b, classes), or to features (b, d) without a classifier."""
        x = self.patch_embed(images)
        if self.spec.class_token:
            x = torch.cat([self.cls_token.expand(x.shape[0], 1, -1), x], dim=1)
        x = x + self.pos_embed  # (b, s, d)
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.head(self._pooled(x))
        return out

    def _pooled(self, x: Tensor) -> Tensor:
        """(b, s, d) to (b, d), normalised."""
        patches = x[:, int(self.spec.class_token) :]
        if self.spec.pooling == "class":
            pooled = self.norm(x[:, 0])
        elif self.spec.pooling == "mean":
            pooled = self.fc_norm(patches.mean(dim=1))
        else:
            pooled = self.norm(patches).mean(dim=1)
        out: Tensor = pooled
        return out

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        """`logits` (b, classes) of the batch's images; without a classifier `features` (b, d)."""
        return {"logits" if self.spec.classes else "features": self(batch["images"])}

    def stacks(self) -> tuple[Stack, ...]:
        """The one stack: all of it."""
        spec = self.spec
        norm = "fc_norm" if spec.pooling == "mean" else "norm"
        stem: dict[str, tuple[str, ...]] = {"cls_token": ("one", "one", "embed")} if spec.class_token else {}
        stem |= {
            "pos_embed": ("one", "tokens", "embed"),
            **with_biases({"patch_embed.proj": ("embed", "colours", "rows", "columns"), norm: ("embed",)}),
        }
        if spec.classes:
            stem |= with_biases({"head": ("classes", "embed")})
        return (
            Stack(
                name="vision",
                prefix="",
                blocks="blocks",
                block_axes=_BLOCK_AXES,
                stem_axes=stem,
                head_size=spec.encoder.head_dim,
                context="attn.proj",
                neurons="mlp.fc2",
                norms=("norm1", "norm2"),
                outer_norms=(norm,),
                inputs=("images",),
            ),
        )
