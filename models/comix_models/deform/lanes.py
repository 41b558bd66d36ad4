"""Vectors of a fixed number of lanes inside numba code.

numba vectorises loops where LLVM can prove that no two arrays overlap, which it cannot for a
gather of many corners. Here a vector is a value of its own (LLVM's ``<n x float>``), so that the
accumulators of a pixel stay in registers. Addresses are plain ``int64`` byte addresses: whoever
calls vouches for them.

The only floating-point freedom taken is fusing a multiplication with an addition, and the order of
a horizontal sum. Comparisons keep their IEEE meaning: one with NaN is false.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

tuple_of: Any = types.UniTuple
declare: Any = cgutils.get_or_insert_function
_I32, _I64 = ir.IntType(32), ir.IntType(64)
ELEMENTS: dict[str, Any] = {
    "f32": ir.FloatType(),
    "f64": ir.DoubleType(),
    "i32": _I32,
    "i64": _I64,
    "mask": ir.IntType(1),
}


class Lanes(types.Type):
    """The numba type of a vector: what its elements are, and how many."""

    def __init__(self, element: str, count: int) -> None:
        self.element = element
        self.count = count
        super().__init__(name=f"Lanes({element}, {count})")

    @property
    def size(self) -> int:
        """Bytes of one element."""
        return 8 if self.element.endswith("64") else 4

    @property
    def scalar(self) -> Any:
        """The numba type of one element."""
        return getattr(types, self.element.replace("f", "float").replace("i", "int"))

    def llvm(self) -> Any:
        """The LLVM type."""
        return ir.VectorType(ELEMENTS[self.element], self.count)


class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, fe_type: Lanes) -> None:
        super().__init__(manager, fe_type, fe_type.llvm())  # type: ignore[no-untyped-call]


register_model(Lanes)(_LanesModel)


def pointer(builder: Any, address: Any, pointee: Any) -> Any:
    """Emit an address as a pointer to what is there."""
    return builder.inttoptr(address, pointee.as_pointer())


def _picks(indices: Sequence[int]) -> Any:
    return ir.Constant(ir.VectorType(_I32, len(indices)), list(indices))


def shuffle(builder: Any, first: Any, second: Any, indices: Sequence[int]) -> Any:
    """Emit LLVM's shufflevector: the picked lanes of both vectors, one behind the other."""
    return builder.shuffle_vector(first, second, _picks(indices))


def _broadcast(builder: Any, scalar: Any, vector: Any) -> Any:
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(_I32, 0))
    return shuffle(builder, first, undefined, [0] * vector.count)


def _make(build: Callable[..., Any]) -> Any:
    return intrinsic(build)


# --- making vectors, and moving them to and from memory -------------------------------------------


def _zeros(_context: Any, bits: Any, count: Any) -> Any:
    kind = Lanes(f"f{bits.literal_value}", count.literal_value)

    def generate(_ctx: Any, _builder: Any, _sig: Any, _args: Any) -> Any:
        return ir.Constant(kind.llvm(), None)

    return kind(bits, count), generate


zeros: Any = intrinsic(prefer_literal=True)(_zeros)
"""``zeros(bits, count)``: `count` floats of `bits` bits, both known at compile time."""


def _fill(_context: Any, like: Lanes, scalar: Any) -> Any:
    def generate(context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        cast = context.cast(builder, args[1], scalar, like.scalar)
        return _broadcast(builder, cast, like.llvm())

    return like(like, scalar), generate


fill = _make(_fill)
"""``fill(like, scalar)``: every lane holds `scalar`."""


def _load(_context: Any, like: Lanes, address: Any) -> Any:
    def generate(_ctx: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return builder.load(pointer(builder, args[1], like.llvm()), align=like.size)

    return like(like, address), generate


load = _make(_load)
"""``load(like, address)``: consecutive elements from memory."""


def _load_every(step: int) -> Any:
    def build(_context: Any, like: Lanes, address: Any) -> Any:
        result = tuple_of(like, step)
        width = step * like.count

        def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            wide = ir.VectorType(ELEMENTS[like.element], width)
            together = builder.load(pointer(builder, args[1], wide), align=like.size)
            parts = [
                shuffle(builder, together, together, range(i, width, step)) for i in range(step)
            ]
            return context.make_tuple(builder, sig.return_type, parts)

        return result(like, address), generate

    return intrinsic(build)


load_pairs = _load_every(2)
"""``load_pairs(like, address)``: the even and the odd ones of twice as many elements."""

load_quads = _load_every(4)
"""``load_quads(like, address)``: every fourth of four times as many elements, from 0, 1, 2, 3."""


def _load_fill(_context: Any, like: Lanes, address: Any) -> Any:
    def generate(_ctx: Any, builder: Any, _sig: Any, args: Any) -> Any:
        kind = like.llvm()
        scalar = builder.load(pointer(builder, args[1], kind.element), align=like.size)
        return _broadcast(builder, scalar, kind)

    return like(like, address), generate


load_fill = _make(_load_fill)
"""``load_fill(like, address)``: every lane holds the one element at `address`."""


def _store(_context: Any, address: Any, vector: Lanes) -> Any:
    def generate(context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        builder.store(args[1], pointer(builder, args[0], vector.llvm()), align=vector.size)
        return context.get_dummy_value()

    return types.void(address, vector), generate


store = _make(_store)
"""``store(address, vector)``."""


def _store_pairs(_context: Any, address: Any, first: Lanes, second: Lanes) -> Any:
    def generate(context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        order = [lane + half * first.count for lane in range(first.count) for half in (0, 1)]
        both = shuffle(builder, args[1], args[2], order)
        builder.store(both, pointer(builder, args[0], both.type), align=first.size)
        return context.get_dummy_value()

    return types.void(address, first, second), generate


store_pairs = _make(_store_pairs)
"""``store_pairs(address, even, odd)``: what `load_pairs` takes apart."""


def _store_quads(_context: Any, address: Any, a: Lanes, b: Lanes, c: Lanes, d: Lanes) -> Any:
    def generate(context: Any, builder: Any, _sig: Any, args: Any) -> Any:
        width = 2 * a.count
        low = shuffle(builder, args[1], args[2], range(width))
        high = shuffle(builder, args[3], args[4], range(width))
        order = [lane + a.count * part for lane in range(a.count) for part in range(4)]
        all4 = shuffle(builder, low, high, order)
        builder.store(all4, pointer(builder, args[0], all4.type), align=a.size)
        return context.get_dummy_value()

    return types.void(address, a, b, c, d), generate


store_quads = _make(_store_quads)
"""``store_quads(address, a, b, c, d)``: what `load_quads` takes apart."""


def _peek(_context: Any, address: Any) -> Any:
    def generate(_ctx: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return builder.load(pointer(builder, args[0], _I64), align=8)

    return types.int64(address), generate


peek = _make(_peek)
"""``peek(address)``: the ``int64`` in memory there."""


def _fetch_add(_context: Any, address: Any) -> Any:
    def generate(_ctx: Any, builder: Any, _sig: Any, args: Any) -> Any:
        counter = pointer(builder, args[0], _I64)
        return builder.atomic_rmw("add", counter, ir.Constant(_I64, 1), "seq_cst")

    return types.int64(address), generate


fetch_add = _make(_fetch_add)
"""``fetch_add(address)``: the ``int64`` there, which is one more for whoever asks next."""


# --- arithmetic -----------------------------------------------------------------------------------


def _arithmetic(method: str, result: Callable[[Lanes], Lanes]) -> Any:
    def build(_context: Any, first: Lanes, second: Lanes) -> Any:
        def generate(_ctx: Any, builder: Any, _sig: Any, args: Any) -> Any:
            operands = (args[0], args[1])
            if method.startswith("f"):
                return getattr(builder, method)(*operands, flags=("contract",))
            return getattr(builder, method)(*operands)

        return result(first)(first, second), generate

    return intrinsic(build)


def _comparison(sign: str) -> Any:
    def build(_context: Any, first: Lanes, second: Lanes) -> Any:
        def generate(_ctx: Any, builder: Any, _sig: Any, args: Any) -> Any:
            return builder.fcmp_ordered(sign, args[0], args[1])

        return Lanes("mask", first.count)(first, second), generate

    return intrinsic(build)


def _same(kind: Lanes) -> Lanes:
    return kind


_add = _arithmetic("fadd", _same)
_subtract = _arithmetic("fsub", _same)
_multiply = _arithmetic("fmul", _same)
_add_integers = _arithmetic("add", _same)
_multiply_integers = _arithmetic("mul", _same)
_both = _arithmetic("and_", _same)
_less = _comparison("<")
_at_least = _comparison(">=")
_more = _comparison(">")


def _is_float(*kinds: Any) -> bool:
    return all(isinstance(k, Lanes) and k.element[0] == "f" for k in kinds)


def _is_integer(*kinds: Any) -> bool:
    return all(isinstance(k, Lanes) and k.element[0] != "f" for k in kinds)


def _overload_operator(symbol: Any, floats: Any, integers: Any) -> None:
    # numba reads the source of what an overload returns, so it must be a plain function.
    def choose(first: Any, second: Any) -> Any:
        if floats is not None and _is_float(first, second):
            return lambda first, second: floats(first, second)  # noqa: PLW0108
        if integers is not None and _is_integer(first, second):
            return lambda first, second: integers(first, second)  # noqa: PLW0108
        return None

    overload(symbol, strict=False)(choose)


_overload_operator(operator.add, _add, _add_integers)
_overload_operator(operator.sub, _subtract, None)
_overload_operator(operator.mul, _multiply, _multiply_integers)
_overload_operator(operator.and_, None, _both)
_overload_operator(operator.lt, _less, None)
_overload_operator(operator.ge, _at_least, None)
_overload_operator(operator.gt, _more, None)


def _floor(_context: Any, vector: Lanes) -> Any:
    def generate(_ctx: Any, builder: Any, _sig: Any, args: Any) -> Any:
        kind = vector.llvm()
        name = f"llvm.floor.v{vector.count}{vector.element}"
        function = declare(builder.module, ir.FunctionType(kind, [kind]), name)
        return builder.call(function, args)

    return vector(vector), generate


floor = _make(_floor)
"""``floor(vector)``."""


def _select(_context: Any, mask: Lanes, yes: Lanes, no: Lanes) -> Any:
    def generate(_ctx: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return builder.select(*args)

    return yes(mask, yes, no), generate


select = _make(_select)
"""``select(mask, yes, no)``: lane by lane."""


def _as_index(_context: Any, vector: Lanes) -> Any:
    kind = Lanes("i64", vector.count)

    def generate(_ctx: Any, builder: Any, _sig: Any, args: Any) -> Any:
        narrow = builder.fptosi(args[0], ir.VectorType(_I32, vector.count))
        return builder.zext(narrow, kind.llvm())

    return kind(vector), generate


as_index = _make(_as_index)
"""``as_index(vector)``: whole numbers from 0 to 2**31 - 1, as ``int64``."""


def _fill_index(_context: Any, like: Lanes, scalar: Any) -> Any:
    kind = Lanes("i64", like.count)

    def generate(_ctx: Any, builder: Any, _sig: Any, args: Any) -> Any:
        # The detour shows LLVM that the upper half is zero: the product is then one instruction.
        known_small = builder.zext(builder.trunc(args[1], _I32), _I64)
        return _broadcast(builder, known_small, kind.llvm())

    return kind(like, scalar), generate


fill_index = _make(_fill_index)
"""``fill_index(like, scalar)``: a number from 0 to 2**32 - 1 in as many lanes as `like` has."""


def _as_flag(_context: Any, mask: Lanes, weight: Any) -> Any:
    kind = Lanes("i32", mask.count)

    def generate(_ctx: Any, builder: Any, _sig: Any, args: Any) -> Any:
        set_all = _broadcast(builder, builder.trunc(args[1], _I32), kind.llvm())
        return builder.select(args[0], set_all, ir.Constant(kind.llvm(), None))

    return kind(mask, weight), generate


as_flag = _make(_as_flag)
"""``as_flag(mask, weight)``: `weight` where the mask is set, else 0, as ``int32``."""


def _widen(_context: Any, vector: Lanes) -> Any:
    kind = Lanes("i64", vector.count)

    def generate(_ctx: Any, builder: Any, _sig: Any, args: Any) -> Any:
        return builder.zext(args[0], kind.llvm())

    return kind(vector), generate


widen = _make(_widen)
"""``widen(vector)``: ``int32`` that are not negative, as ``int64``."""
