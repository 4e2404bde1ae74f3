"""timm state dicts, architectures and preprocessing of vision transformers, both ways.

timm's architectures are read off its own module, built on the `meta` device (no memory, no download): whatever a name
and its arguments mean to timm is what counts. A model either is exactly what `Vit` computes, or it is refused, and
everything that stands in the way is named: layer scale, register or distillation tokens, attention pooling, norms of
queries and keys, and so on. The names of tensors are the same on both sides.

Source: timm (Wightman, doi 10.5281/zenodo.4414861), Apache-2.0: its classes' attributes, published configurations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from catransformers.errors import InputError, Problem, Problems, unknown_name
from catransformers.extras import install
from catransformers.models.families.vit import Vit
from catransformers.models.loading.torchvision_compat import import_beside_torchvision
from catransformers.workloads.dimensions import VisionSpec
from catransformers.workloads.vit import Pooling, VitActivation, VitSpec

#: The architecture whose arguments `to_timm` overrides, and the one epsilon that timm's LayerNorm has by default.
_BASE: Final = "vit_base_patch16_224"
_EPS: Final = 1e-6
#: `global_pool` and `fc_norm` of each pooling.
_POOLING: Final[Mapping[Pooling, tuple[str, bool]]] = {
    "class": ("token", False),
    "mean": ("avg", True),
    "normed_mean": ("avg", False),
}
#: Where open_clip's checkpoints keep a vision encoder of timm's.
_TRUNK: Final = "visual.trunk."
_ACTIVATION_KINDS: Final[Mapping[str, VitActivation]] = {
    "GELU": "gelu",
    "GELUTanh": "gelu_tanh",
    "QuickGELU": "quick_gelu",
}


def spec_from_timm(name: str, where: str, /, **arguments: object) -> VitSpec:
    """The spec of a timm model.

    Args:
        name: as `timm.create_model` takes it, with or without a tag (`vit_base_patch16_224.augreg_in1k`).
        where: what to call the place of the name in a message.
        arguments: further arguments of `timm.create_model` (`num_classes`, `img_size`, …).

    Raises:
        InputError: if timm is missing, does not know the name or an argument, or makes a model that is not a plain
            vision transformer; all of it is named.
    """
    timm = import_beside_torchvision("timm", install("vit"))
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise InputError(unknown_name(where, "timm model", name, timm.list_models()))
    try:
        with torch.device("meta"):
            model = timm.create_model(name, pretrained=False, **arguments)
    except (
        AssertionError,
        AttributeError,
        KeyError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{architecture}.*")]
        if tag and tag not in tags:
            raise InputError(unknown_name(where, f"tag of {architecture}", tag, tags)) from error
        raise InputError(Problem(where, f"timm cannot make {name!r}: {error or type(error).__name__}")) from error
    return spec_of_timm_model(model, where)


def timm_arguments(config: Mapping[str, Any], where: str) -> tuple[str, dict[str, object]]:
    """The name and arguments, for `spec_from_timm`, that the `config.json` of a folder in timm's layout stands for.

    Raises:
        InputError: if it names no architecture, or its arguments are no table.
    """
    name, settings = config.get("architecture"), config.get("pretrained_cfg", config)
    model_args = config.get("model_args") or {}
    problems = Problems()
    if not isinstance(name, str):
        problems.append(Problem(f"{where}: architecture", f"{name!r} is not a name of a timm model"))
    for key, table in (("pretrained_cfg", settings), ("model_args", model_args)):
        if not isinstance(table, Mapping):
            problems.append(Problem(f"{where}: {key}", f"{table!r} is not a table"))
    problems.finish()
    arguments = dict(model_args)
    for key in ("num_classes", "global_pool"):
        value = config.get(key, settings.get(key))
        if value is not None:
            arguments.setdefault(key, value)
    size = settings.get("input_size")
    if isinstance(size, list | tuple) and len(size) == 3:
        arguments.setdefault("img_size", size[-1] if size[1] == size[2] else tuple(size[1:]))
    return str(name), arguments


def spec_of_timm_model(model: nn.Module, where: str) -> VitSpec:
    """The spec of a timm `VisionTransformer` (on any device).

    Raises:
        InputError: if it computes anything that `Vit` does not; all of it is named.
    """
    kind = type(model).__name__
    if kind != "VisionTransformer":
        what = f"{kind} is not timm's plain VisionTransformer"
        raise InputError(Problem(where, what + (", it has a distillation token" if "Distilled" in kind else "")))
    m: Any = model
    faults = _faults(m)
    if faults:
        raise InputError([Problem(where, f"cannot be expressed here: {fault}") for fault in faults])
    block = m.blocks[0]
    pooling: Pooling = "class"
    if m.global_pool == "avg":
        pooling = "mean" if isinstance(m.norm, nn.Identity) else "normed_mean"
    encoder = VisionSpec(
        layers=len(m.blocks),
        ffn_dim=block.mlp.fc1.out_features,
        embed_dim=m.embed_dim,
        heads=block.attn.num_heads,
        head_dim=block.attn.head_dim,
        tokens=m.patch_embed.num_patches + m.has_class_token,
        image_size=m.patch_embed.img_size[0],
        patch_size=m.patch_embed.patch_size[0],
    )
    spec = VitSpec(encoder, m.num_classes, m.has_class_token, pooling, block.norm1.eps, _activation_of(block.mlp.act))
    with torch.device("meta"):
        ours = {name: tensor.shape for name, tensor in Vit(spec).state_dict().items()}
    theirs = {name: tensor.shape for name, tensor in model.state_dict().items()}
    different = [name for name in (ours | theirs) if ours.get(name) != theirs.get(name)]
    if different:
        raise InputError(Problem(where, f"cannot be expressed here: other tensors, {', '.join(sorted(different)[:8])}"))
    return spec


def _faults(m: Any) -> list[str]:
    """What a timm vision transformer has that ours has not."""
    embed, last = m.patch_embed, m.fc_norm if isinstance(m.norm, nn.Identity) else m.norm
    square = all(len(set(size)) == 1 for size in (embed.img_size, embed.patch_size))
    plain_embed = type(embed).__name__ == "PatchEmbed" and isinstance(embed.norm, nn.Identity)
    faults = {
        "no learnt positions": m.pos_embed is None,
        "a class token without a position (no_embed_class)": m.has_class_token and m.no_embed_class,
        "register tokens (reg_tokens)": m.num_reg_tokens > 0,
        "a norm before the blocks (pre_norm)": not isinstance(m.norm_pre, nn.Identity),
        "patches that are not embedded by one convolution (embed_layer)": not plain_embed,
        "an image or patches that are not square": plain_embed and not square,
        f"images of {m.in_chans} colours (in_chans)": m.in_chans != 3,
        f"pooling {m.global_pool!r} (global_pool)": m.global_pool not in ("token", "avg"),
        "a mean over the class token too (pool_include_prefix)": m.global_pool == "avg" and m.pool_include_prefix,
        "a class token normalised after pooling (fc_norm)": m.global_pool == "token" and last is m.fc_norm,
        "no LayerNorm at the end": not isinstance(last, nn.LayerNorm),
        "no blocks": not len(m.blocks),
    }
    for block in m.blocks:
        faults |= _block_faults(block)
    norms = [module for module in m.modules() if isinstance(module, nn.LayerNorm)]
    faults["LayerNorms of different epsilon"] = len({norm.eps for norm in norms}) > 1
    faults["LayerNorms without gain or bias"] = any(norm.weight is None or norm.bias is None for norm in norms)
    return [fault for fault, found in faults.items() if found]


def _block_faults(block: Any) -> dict[str, bool]:
    """Faults of one block, and whether it has them; those of blocks of an unknown class hide the rest."""
    kinds = (type(block), type(getattr(block, "attn", None)), type(getattr(block, "mlp", None)))
    names = tuple(kind.__name__ for kind in kinds)
    if names != ("Block", "Attention", "Mlp"):
        return {f"blocks of another kind ({', '.join(names)})": True}
    attention, mlp = block.attn, block.mlp
    identity = nn.Identity
    return {
        "layer scale (init_values)": not (isinstance(block.ls1, identity) and isinstance(block.ls2, identity)),
        "norms of queries and keys (qk_norm)": not isinstance(attention.q_norm, identity),
        "a norm of the heads' contexts (scale_attn_norm)": not isinstance(attention.norm, identity),
        "a norm of the FFN's neurons (scale_mlp_norm)": not isinstance(mlp.norm, identity),
        "gated attention": getattr(attention, "gate", None) is not None,
        "an attention without biases (qkv_bias)": attention.qkv.bias is None,
        "projections without biases (proj_bias)": attention.proj.bias is None or mlp.fc2.bias is None,
        "norms that are not LayerNorm": not all(isinstance(n, nn.LayerNorm) for n in (block.norm1, block.norm2)),
        f"activation {type(mlp.act).__name__}": _ACTIVATION_KINDS.get(type(mlp.act).__name__) is None,
    }


def _activation_of(module: nn.Module) -> VitActivation:
    """Which activation a module is, torch's GELU by its formula."""
    if isinstance(module, nn.GELU) and module.approximate == "tanh":
        return "gelu_tanh"
    return _ACTIVATION_KINDS[type(module).__name__]


def tensors_from_timm(spec: VitSpec, tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """timm's tensors by our names, which are the same.

    Of a checkpoint of open_clip, in which timm's encoder is one half, that half is taken. The attention pooling that
    SigLIP's checkpoints hold is dropped where the architecture says a mean instead (timm drops it too).

    Raises:
        InputError: if both halves of a CLIP are there, but the vision half is not timm's.
    """
    trunk = {name: tensor for name, tensor in tensors.items() if name.startswith(_TRUNK)}
    if trunk:
        tensors = {name.removeprefix(_TRUNK): tensor for name, tensor in trunk.items()}
    elif any(name.startswith("visual.") for name in tensors):
        raise InputError(Problem(where, "a CLIP whose vision encoder is not timm's", "names in visual.trunk"))
    mean = spec.pooling == "normed_mean" and not spec.class_token
    return {name: tensor for name, tensor in tensors.items() if not (mean and name.startswith("attn_pool."))}


def to_timm(net: Vit) -> tuple[dict[str, object], dict[str, Tensor]]:
    """A net as timm's: arguments of `timm.create_model` (plain data), and the tensors to load strictly.

    Raises:
        InputError: if timm's class refuses the shape: heads that do not fill the width, another epsilon than 1e-6.
    """
    spec, e = net.spec, net.spec.encoder
    problems = Problems(_shape_problems(e, "timm's VisionTransformer"))
    if spec.norm_eps != _EPS:
        what = f"{spec.norm_eps:g} cannot be said to timm in plain data"
        problems.append(Problem("norm_eps", what, f"{_EPS:g}", "save it for Hugging Face"))
    problems.finish()
    ratio = e.ffn_dim / e.embed_dim  # timm takes int(width · ratio), which rounding may put one too low
    if int(e.embed_dim * ratio) != e.ffn_dim:
        ratio = (e.ffn_dim + 0.5) / e.embed_dim
    global_pool, fc_norm = _POOLING[spec.pooling]
    arguments: dict[str, object] = {
        "model_name": _BASE,
        "img_size": e.image_size,
        "patch_size": e.patch_size,
        "embed_dim": e.embed_dim,
        "depth": e.layers,
        "num_heads": e.heads,
        "mlp_ratio": ratio,
        "num_classes": spec.classes,
        "class_token": spec.class_token,
        "global_pool": global_pool,
        "fc_norm": fc_norm,
        "act_layer": spec.activation,
    }
    return arguments, dict(net.state_dict())


def _shape_problems(e: VisionSpec, library: str) -> list[Problem]:
    """Why a library whose head size is width ÷ heads cannot hold an encoder."""
    if e.heads * e.head_dim == e.embed_dim:
        return []
    what = f"{e.heads} heads of {e.head_dim} do not make the width {e.embed_dim}, as {library} has it"
    return [Problem("heads", what, hint="the package's own format holds any shape")]
