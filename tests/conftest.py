"""Settings for all tests."""

import os

import torch
from hypothesis import settings

# Triton reads this when its kernels are first imported.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

# Machines that run tests are shared: how long an example takes says nothing about the code.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
