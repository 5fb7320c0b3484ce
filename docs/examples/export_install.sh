pip install 'hadis-lightly[onnx]'                       # to export
pip install --no-deps hadis-lightly                      # to predict, without PyTorch
pip install hydra-core numpy onnxruntime pillow tqdm
