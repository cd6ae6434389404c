"""The segmenter node with `HangingEngine` in its factory: python -m support.faults.hanging_node --ros-args ..."""

from __future__ import annotations

from erfnet_ros.inference import factory

if __name__ == "__main__":
    factory._CLASSES["hanging"] = "support.faults.hanging_engine:HangingEngine"
    factory.ENGINES = (*factory.ENGINES, "hanging")
    # The table of parameters takes the engines' names when it is imported.
    from erfnet_ros.ros.node.__main__ import main

    main()
