"""The words that users choose engines with; importing them imports no engine."""

ENGINES = ("auto", "pytorch", "onnxruntime", "tensorrt")
DEVICES = "auto, cpu, cuda or cuda:N"
FLOATS = ("auto", "fp32", "fp16", "bf16")
PRECISIONS = (*FLOATS, "int8")
