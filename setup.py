"""What pyproject.toml can't say: the cffi module and the abi3 tag of the wheel."""

from setuptools import setup

setup(
    cffi_modules=["memtop/native/build.py:ffibuilder"],
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
