"""Node, camera and recorder as processes over DDS, shared by demo, live evaluation, benchmarks and tests."""
