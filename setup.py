"""Packaging. The recipes stand beside the package in a checkout and are copied into it when it is built."""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent


class WithRecipes(build_py):
    """Puts the YAML files of recipes/ into the built package; an editable install uses those of the checkout."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for path in (HERE / "recipes").glob("*/*.yaml"):
                target = Path(self.build_lib) / "verl_rzero" / path.relative_to(HERE)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)


def pins(name: str) -> list[str]:
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


version = next(
    line.split('"')[1]
    for line in (HERE / "verl_rzero/__init__.py").read_text(encoding="utf-8").splitlines()
    if line.startswith("__version__")
)

setup(
    name="verl_rzero",
    version=version,
    description="Language models that improve themselves without labels, on stock verl: R-Zero and TTRL",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.13",
    packages=find_packages(include=["verl_rzero", "verl_rzero.*"]),
    package_data={"verl_rzero": ["config/*.yaml", "watch/web/assets/*"]},
    install_requires=pins("requirements.txt"),
    cmdclass={"build_py": WithRecipes},
    entry_points={
        # verl imports these in every process that imports verl (verl/__init__.py).
        "verl.plugins": ["verl_rzero = verl_rzero.engine.cpu.plugin"],
        "console_scripts": ["verl-rzero = verl_rzero.coevolve:cli"],
    },
)
