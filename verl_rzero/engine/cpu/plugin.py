"""verl plug-in: lets stock verl and vLLM run on a CPU. Entry point `verl.plugins`; verl imports it in every process
that it starts.

With `VERL_PLATFORM=cpu` it registers our CPU platform and applies `verl_rzero.engine.cpu.patches`; otherwise
it does nothing.
"""

import os

if os.environ.get("VERL_PLATFORM") == "cpu":
    from verl_rzero.engine.cpu import patches as cpu

    cpu.install()
