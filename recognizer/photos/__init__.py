"""Photos: decoding to upright RGB pixels, formats and limits, quality of faces' pictures, drawing, and object detection."""
