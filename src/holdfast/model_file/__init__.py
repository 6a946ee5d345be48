"""The saved model: a directory of safetensors and JSON, never pickle, never torch. See docs/format.md."""
