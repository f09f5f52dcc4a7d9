"""Output of live video: drawn frames, MJPEG streams, recordings, results for programs."""
