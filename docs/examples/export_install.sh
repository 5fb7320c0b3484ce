pip install onnx onnxruntime onnxscript
