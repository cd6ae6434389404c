"""The segmenter node, whose engine factory knows `HangingEngine`: python -m support.hanging_node --ros-args ..."""

from __future__ import annotations

from erfnet_ros.inference import factory

if __name__ == "__main__":
    factory._CLASSES["hanging"] = "support.hanging_engine:HangingEngine"
    factory.ENGINES = (*factory.ENGINES, "hanging")
    # The table of parameters takes the engines' names when it is imported.
    from erfnet_ros.ros.node.__main__ import main

    main()
