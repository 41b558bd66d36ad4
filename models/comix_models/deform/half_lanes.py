"""Loads of bfloat16 into vectors, widened; see `lanes`."""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.extending import intrinsic

from comix_models.deform.lanes import ELEMENTS, Lanes, pointer, shuffle, tuple_of

_I32 = ir.IntType(32)


def _halves(builder: Any, address: Any, like: Lanes, count: int) -> Any:
    """Emit a load of `count` bfloat16, which are the upper halves of single precision numbers."""
    kind = ir.VectorType(ir.IntType(16), count)
    loaded = builder.load(pointer(builder, address, kind), align=2)
    whole = builder.zext(loaded, ir.VectorType(_I32, count))
    shifted = builder.shl(whole, ir.Constant(whole.type, [16] * count))
    single = builder.bitcast(shifted, ir.VectorType(ELEMENTS["f32"], count))
    if like.element == "f32":
        return single
    return builder.fpext(single, ir.VectorType(ELEMENTS[like.element], count))


def _load_half(_context: Any, like: Lanes, address: Any) -> Any:
    def generate(_ctx: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return _halves(builder, args[1], like, like.count)

    return like(like, address), generate


load_half: Any = intrinsic(_load_half)
"""``load_half(like, address)``: consecutive bfloat16 from memory, widened."""


def _load_half_pairs(_context: Any, like: Lanes, address: Any) -> Any:
    result = tuple_of(like, 2)

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        both = _halves(builder, args[1], like, 2 * like.count)
        parts = [shuffle(builder, both, both, range(i, 2 * like.count, 2)) for i in range(2)]
        return context.make_tuple(builder, sig.return_type, parts)

    return result(like, address), generate


load_half_pairs: Any = intrinsic(_load_half_pairs)
"""``load_half_pairs(like, address)``: as `load_pairs`, of bfloat16."""
