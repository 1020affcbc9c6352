"""The C library that prepares images; everything else about leansight is in setup.cfg."""

import os

from setuptools import Extension, setup

# Where there is no compiler, leansight installs without it: OpenCV then prepares images.
PREPARE = Extension(
    "leansight.runtime.pixels._prepare",
    [f"runtime/pixels/{name}.c" for name in ("prepare", "resize", "clahe", "lab", "edges")],
    extra_compile_args=[
        "-O3",
        "-fvisibility=hidden",
        "-ffp-contract=off",
        "-fno-math-errno",
        "-fno-trapping-math",
    ],
    libraries=["m"],
    depends=["runtime/pixels/prepare.h"],
    optional=True,
    py_limited_api=True,  # it uses nothing of Python at all: one file for every version
)

setup(ext_modules=[] if os.environ.get("LEANSIGHT_PURE") else [PREPARE])
