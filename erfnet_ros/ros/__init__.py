"""The only code that imports rclpy and messages."""
