"""The words that users choose engines with; importing them imports no engine."""

ENGINES = ("auto", "pytorch", "onnxruntime")
DEVICES = "auto, cpu, cuda or cuda:N"
PRECISIONS = ("auto", "fp32", "fp16", "bf16")
