"""ERFNet semantic segmentation for ROS 2.

Importing this package imports none of torch, rclpy or cv2; the modules that need them do.
"""

from pkgutil import extend_path

# A checkout on sys.path would otherwise hide the generated `erfnet_ros.msg` of an installed workspace.
__path__ = extend_path(__path__, __name__)

__version__ = "0.1.0"
