"""Post-training quantization of exported networks to INT8."""
