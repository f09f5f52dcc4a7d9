"""dlib's networks, run by dlib itself, or converted from its files and run on ONNX Runtime."""
