"""Sums across the lanes of a vector, see `lanes`."""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.extending import intrinsic

from comix_models.deform.lanes import ELEMENTS, Lanes, declare, shuffle


def _horizontal_sum(builder: Any, vector: Any, kind: Lanes) -> Any:
    element = ELEMENTS[kind.element]
    name = f"llvm.vector.reduce.fadd.v{kind.count}{kind.element}"
    signature = ir.FunctionType(element, [element, kind.llvm()])
    function = declare(builder.module, signature, name)
    return builder.call(function, (ir.Constant(element, 0.0), vector), fastmath=("reassoc",))


def _fold_to_four(builder: Any, vector: Any, count: int) -> Any:
    while count > 4:
        count //= 2
        low = shuffle(builder, vector, vector, range(count))
        high = shuffle(builder, vector, vector, range(count, 2 * count))
        vector = builder.fadd(low, high)
    return vector


def _add_neighbours(builder: Any, first: Any, second: Any) -> Any:
    even = shuffle(builder, first, second, (0, 2, 4, 6))
    return builder.fadd(even, shuffle(builder, first, second, (1, 3, 5, 7)))


def _sum_each(_context: Any, a: Lanes, b: Lanes, c: Lanes, d: Lanes) -> Any:
    kind = Lanes(a.element, 4)

    def generate(_ctx: Any, builder: Any, _sig: Any, args: Any) -> Any:
        if a.count >= 4 and a.count & (a.count - 1) == 0:
            w, x, y, z = (_fold_to_four(builder, v, a.count) for v in args)
            pairs = _add_neighbours(builder, w, x), _add_neighbours(builder, y, z)
            return _add_neighbours(builder, *pairs)
        result = ir.Constant(kind.llvm(), ir.Undefined)
        for lane, vector in enumerate(args):
            total = _horizontal_sum(builder, vector, a)
            result = builder.insert_element(result, total, ir.Constant(ir.IntType(32), lane))
        return result

    return kind(a, b, c, d), generate


sum_each: Any = intrinsic(_sum_each)
"""``sum_each(a, b, c, d)``: the sums across the lanes of four vectors, as a vector of four."""
