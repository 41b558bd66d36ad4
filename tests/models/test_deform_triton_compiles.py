"""Triton's kernels go through Triton's compiler, which needs no GPU and is stricter than its
interpreter.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

PROGRAM = """
import sys
import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from comix_models.deform import triton_kernels

stored, real, capability = sys.argv[1], sys.argv[2], int(sys.argv[3])
SIZES = ("pixels", "height", "width", "out_height", "out_width", "groups", "group_width")
ORDINARY, REGULAR = {}, {"value_c": 1, "scalars_c": 1}
SMALLEST = dict.fromkeys((*SIZES, "value_n", "value_h", "value_w", "value_c", "scalars_c"), 1)

for kernel in (triton_kernels.forward, triton_kernels.backward):
    for taps, remove_center, specialised in (
        (3, 0, ORDINARY), (7, 0, REGULAR), (3, 1, REGULAR), (1, 0, SMALLEST),
    ):
        constants = {
            "kernel": taps, "stride": 1, "padding": taps // 2, "dilation": 1, "offset_scale": 1.0,
            "remove_center": remove_center, "real": getattr(tl, real.replace("fp", "float")),
            "block_pixels": 64, "block_channels": 16, **specialised,
        }
        signature, attributes = {}, {}
        for i, name in enumerate(kernel.arg_names):
            if name in constants:
                signature[name] = "constexpr"
            elif name == "grad_value":
                signature[name] = "*" + real
            elif name in ("value", "scalars", "out", "grad_out", "grad_scalars"):
                signature[name] = "*" + stored
            else:
                signature[name] = "i32"
            if signature[name] != "constexpr" and specialised:
                attributes[(i,)] = [["tt.divisibility", 16]]
        used = {n: v for n, v in constants.items() if n in kernel.arg_names}
        source = ASTSource(fn=kernel, signature=signature, constexprs=used, attrs=attributes)
        compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32))
        assert compiled.asm["ptx"]
print("compiled")
"""


@pytest.mark.parametrize(
    ("stored", "real", "capability"),
    [("fp32", "fp32", 75), ("fp16", "fp32", 80), ("bf16", "fp32", 90), ("fp64", "fp64", 90)],
)
def test_both_kernels_compile_for_gpus(
    tmp_path: Path, stored: str, real: str, capability: int
) -> None:
    path = os.pathsep.join(entry for entry in sys.path if entry)
    env = {"PYTHONPATH": path, "TRITON_CACHE_DIR": str(tmp_path), "PATH": os.environ["PATH"]}
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, str(program), stored, real, str(capability)]
    finished = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert finished.stdout == "compiled\n", finished.stderr[-2000:]
