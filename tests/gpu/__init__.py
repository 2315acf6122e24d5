"""`bash tests/gpu.sh`: what one GPU can tell about this project in ten minutes. docs/gpu.md describes it."""
