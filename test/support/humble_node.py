"""The node on the installed rclpy with one difference of Humble's: subscription callbacks get the message alone."""

from __future__ import annotations

from typing import Any

from rclpy.executors import Executor, await_or_execute
from rclpy.subscription import Subscription


def take_subscription(executor: Executor, sub: Subscription) -> Any:
    """Take a message as rclpy 3.3 does, whose `_execute_subscription` ignores the callback's signature."""
    with sub.handle:
        taken = sub.handle.take_message(sub.msg_type, sub.raw)

    async def execute() -> None:
        await await_or_execute(sub.callback, taken[0])

    return execute if taken is not None else None


if __name__ == "__main__":
    Executor._take_subscription = take_subscription

    from erfnet_ros.ros.node.__main__ import main

    main()
