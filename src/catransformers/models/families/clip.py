"""CLIP with open_clip's architecture and parameter names, and an attention whose width pruning may change.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021 (arXiv 2103.00020). A
vision transformer and a causal text transformer, both pre-norm, project their class or end token into one space.
The names and shapes of all parameters are open_clip's, so that its state dict loads strictly and gives the same
outputs. The one difference: here the attention width a = heads·head_dim is free of the residual width d, so heads can
be pruned without touching the head size, which `torch.nn.MultiheadAttention` cannot express.

Shapes in comments: b batch, s tokens, d residual width, a attention width, p projection.
"""

from __future__ import annotations

from collections import OrderedDict
from math import log

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from catransformers.errors import InputError, Problem
from catransformers.models.families.layers import ACTIVATIONS, self_attention, with_biases
from catransformers.models.families.net import Batch, Net, Stack
from catransformers.workloads.spec import ClipSpec, EncoderSpec, VisionSpec

#: The initial logit scale of CLIP, ln(1 / 0.07), and the cap that training keeps it under, ln(100) (its section 2.5).
INITIAL_LOGIT_SCALE = log(1 / 0.07)
MAXIMAL_LOGIT_SCALE = log(100)


_BLOCK_AXES = {
    "attn.in_proj_weight": ("qkv", "embed"),
    "attn.in_proj_bias": ("qkv",),
    **with_biases(
        {
            "ln_1": ("embed",),
            "attn.out_proj": ("embed", "attention"),
            "ln_2": ("embed",),
            "mlp.c_fc": ("ffn", "embed"),
            "mlp.c_proj": ("embed", "ffn"),
        }
    ),
}
_VISION_AXES = {
    "visual.class_embedding": ("embed",),
    "visual.positional_embedding": ("token", "embed"),
    "visual.conv1.weight": ("embed", "colour", "row", "column"),
    **with_biases({"visual.ln_pre": ("embed",), "visual.ln_post": ("embed",)}),
    "visual.proj": ("embed", "projection"),
}
_TEXT_AXES = {
    "positional_embedding": ("token", "embed"),
    "token_embedding.weight": ("vocabulary", "embed"),
    **with_biases({"ln_final": ("embed",)}),
    "text_projection": ("embed", "projection"),
    "logit_scale": (),
}


class Attention(nn.Module):
    """Multi-head self-attention of width a = heads·head_dim on a residual stream of width d.

    Parameters as `nn.MultiheadAttention` names them: `in_proj_weight` (3a, d), `in_proj_bias` (3a,), `out_proj` (d, a).
    Rows of `in_proj_weight` are Q, K, V, each heads × head_dim.
    """

    def __init__(self, embed_dim: int, heads: int, head_dim: int, *, causal: bool) -> None:
        super().__init__()
        self.heads, self.head_dim, self.causal = heads, head_dim, causal
        width = heads * head_dim
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, embed_dim))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        """(b, s, d) in, (b, s, d) out."""
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)  # (b, s, 3a)
        out: Tensor = self.out_proj(self_attention(qkv, self.heads, self.head_dim, causal=self.causal))
        return out


class Block(nn.Module):
    """One pre-norm block: x + attention(norm(x)), then x + FFN(norm(x))."""

    def __init__(self, spec: EncoderSpec, activation: str, *, causal: bool) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(spec.embed_dim)
        self.attn = Attention(spec.embed_dim, spec.heads, spec.head_dim, causal=causal)
        self.ln_2 = nn.LayerNorm(spec.embed_dim)
        self.mlp = nn.Sequential(
            OrderedDict(
                c_fc=nn.Linear(spec.embed_dim, spec.ffn_dim),
                gelu=ACTIVATIONS[activation](),
                c_proj=nn.Linear(spec.ffn_dim, spec.embed_dim),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """(b, s, d) in, (b, s, d) out."""
        x = x + self.attn(self.ln_1(x))
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


class Transformer(nn.Module):
    """A stack of blocks, `resblocks`."""

    def __init__(self, spec: EncoderSpec, activation: str, *, causal: bool) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(Block(spec, activation, causal=causal) for _ in range(spec.layers))

    def forward(self, x: Tensor) -> Tensor:
        """(b, s, d) in, (b, s, d) out."""
        for block in self.resblocks:
            x = block(x)
        return x


class VisionTransformer(nn.Module):
    """Square patches, a class token, learned positions, a transformer; the class token's projection comes out."""

    def __init__(self, spec: VisionSpec, projection_dim: int, activation: str) -> None:
        super().__init__()
        patches = (spec.image_size // spec.patch_size) ** 2
        if spec.tokens != patches + 1:
            raise InputError(
                Problem("vision.tokens", f"{spec.tokens} is not the {patches} patches and the class token")
            )
        d = spec.embed_dim
        self.conv1 = nn.Conv2d(3, d, kernel_size=spec.patch_size, stride=spec.patch_size, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(d))
        self.positional_embedding = nn.Parameter(torch.empty(spec.tokens, d))
        self.ln_pre = nn.LayerNorm(d)
        self.transformer = Transformer(spec, activation, causal=False)
        self.ln_post = nn.LayerNorm(d)
        self.proj = nn.Parameter(torch.empty(d, projection_dim))

    def forward(self, images: Tensor) -> Tensor:
        """(b, 3, height, width) in, (b, p) out, not normalised."""
        x = self.conv1(images).flatten(2).transpose(1, 2)  # (b, s - 1, d)
        first = self.class_embedding.expand(x.shape[0], 1, -1)
        x = self.ln_pre(torch.cat([first, x], dim=1) + self.positional_embedding)  # (b, s, d)
        x = self.ln_post(self.transformer(x)[:, 0])  # (b, d)
        out: Tensor = x @ self.proj
        return out


class Clip(Net):
    """A CLIP of any (pruned) spec.

    Args:
        spec: its dimensions. Weights start as CLIP's do (from torch's global generator).

    Raises:
        InputError: if the vision encoder's tokens do not follow from its image and patch size.
    """

    def __init__(self, spec: ClipSpec) -> None:
        super().__init__()
        self.spec = spec
        text, p = spec.text, spec.projection_dim
        self.visual = VisionTransformer(spec.vision, p, spec.activation)
        self.positional_embedding = nn.Parameter(torch.empty(text.tokens, text.embed_dim))
        self.token_embedding = nn.Embedding(text.vocab_size, text.embed_dim)
        self.transformer = Transformer(text, spec.activation, causal=True)
        self.ln_final = nn.LayerNorm(text.embed_dim)
        self.text_projection = nn.Parameter(torch.empty(text.embed_dim, p))
        self.logit_scale = nn.Parameter(torch.tensor(INITIAL_LOGIT_SCALE))
        self._initialise()

    def _initialise(self) -> None:
        """Normal weights with CLIP's standard deviations, for both encoders; biases zero, norms the identity."""
        vision, text = self.spec.vision, self.spec.text
        nn.init.normal_(self.visual.class_embedding, std=vision.embed_dim**-0.5)
        nn.init.normal_(self.visual.positional_embedding, std=vision.embed_dim**-0.5)
        nn.init.normal_(self.visual.proj, std=vision.embed_dim**-0.5)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        nn.init.normal_(self.positional_embedding, std=0.01)
        nn.init.normal_(self.text_projection, std=text.embed_dim**-0.5)
        _initialise_blocks(self.visual.transformer, vision)
        _initialise_blocks(self.transformer, text)

    def stacks(self) -> tuple[Stack, ...]:
        """The vision and the text encoder."""
        spec = self.spec
        return tuple(
            Stack(
                name=name,
                prefix=f"{name}.",
                blocks=f"{path}transformer.resblocks",
                block_axes=_BLOCK_AXES,
                stem_axes=stem_axes,
                head_size=encoder.head_dim,
                context="attn.out_proj",
                neurons="mlp.c_proj",
                norms=("ln_1", "ln_2"),
                outer_norms=(norm,),
                inputs=(read,),
            )
            for name, encoder, path, stem_axes, norm, read in (
                ("vision", spec.vision, "visual.", _VISION_AXES, "visual.ln_post", "images"),
                ("text", spec.text, "", _TEXT_AXES, "ln_final", "tokens"),
            )
        )

    def outputs(self, batch: Batch) -> dict[str, Tensor]:
        """`image` (b, p) and `text` (b, p), unit vectors of what the batch holds, and `logit_scale`, a logarithm."""
        found: dict[str, Tensor] = {"logit_scale": self.logit_scale}
        if "images" in batch:
            found["image"] = self.encode_image(batch["images"])
        if "tokens" in batch:
            found["text"] = self.encode_text(batch["tokens"])
        return found

    @torch.no_grad()
    def constrain(self) -> None:
        """Keep the temperature in CLIP's range: 0 ≤ logit_scale ≤ ln 100."""
        self.logit_scale.clamp_(0.0, MAXIMAL_LOGIT_SCALE)

    def encode_image(self, images: Tensor) -> Tensor:
        """Images (b, 3, height, width) to unit vectors (b, p)."""
        return F.normalize(self.visual(images.to(self.visual.proj.dtype)), dim=-1)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Token ids (b, s), the end token the highest id of its row, to unit vectors (b, p).

        As in open_clip, the row's first highest id is pooled; what follows it is masked by causality.
        """
        x = self.token_embedding(tokens) + self.positional_embedding[: tokens.shape[1]]
        x = self.ln_final(self.transformer(x))  # (b, s, d)
        pooled = x[torch.arange(x.shape[0], device=x.device), tokens.argmax(dim=-1)]  # (b, d)
        return F.normalize(pooled @ self.text_projection, dim=-1)

    def forward(self, images: Tensor, tokens: Tensor) -> Tensor:
        """Logits per image (b images, b texts): exp(logit_scale) times the cosine; its transpose is per text."""
        return self.logit_scale.exp() * self.encode_image(images) @ self.encode_text(tokens).T


def _initialise_blocks(transformer: Transformer, spec: EncoderSpec) -> None:
    """CLIP's initialisation of a stack: what writes to the residual stream shrinks with the depth."""
    attention_std = spec.embed_dim**-0.5
    output_std = attention_std * (2 * spec.layers) ** -0.5
    for block in transformer.resblocks:
        assert isinstance(block, Block)  # noqa: S101 - for the type checker; ModuleList forgets what it holds
        nn.init.normal_(block.attn.in_proj_weight, std=attention_std)
        nn.init.normal_(block.attn.out_proj.weight, std=output_std)
        nn.init.zeros_(block.attn.out_proj.bias)
        for name, std in (("c_fc", (2 * spec.embed_dim) ** -0.5), ("c_proj", output_std)):
            layer = block.mlp.get_submodule(name)
            assert isinstance(layer, nn.Linear)  # noqa: S101
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)
