"""Third-party depth networks as ONNX files: their input and output formats, and a back end for them."""
