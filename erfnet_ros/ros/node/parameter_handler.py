"""Declaration and validation of the parameter table on a node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from erfnet_ros.core.errors import ParameterError
from erfnet_ros.ros.node.parameters import (
    ANY_TIME,
    AT_START,
    BY_NAME,
    PARAMETERS,
    UNCONFIGURED,
    Parameter,
    Settings,
    Value,
)
from erfnet_ros.ros.rclpy_compat import parameter_overrides

_RCLPY_PARAMETERS = ("use_sim_time", "start_type_description_service", "qos_overrides.")
"""Names, or their beginnings, of the parameters that rclpy itself declares."""


class ParameterHandler:
    """The node's parameters.

    A value from the command line or a file that does not fit is not applied but kept in `errors`: the node stays up
    and can report what is wrong.

    Args:
        node: The node to declare them on.
        is_configured: Returns whether the node is configured, so that only parameters of ANY_TIME may change.
        on_change: Called after values of a configured node were accepted, with the changed values.

    Attributes:
        errors: Why a parameter's value at start was not applied, by name.
        unknown: Names that were set at start and are no parameters of the node.
    """

    def __init__(
        self, node: Node, is_configured: Callable[[], bool], on_change: Callable[[dict[str, Value]], None]
    ) -> None:
        self._node = node
        self._is_configured = is_configured
        self._on_change = on_change
        self.errors: dict[str, str] = {}
        for parameter in PARAMETERS:
            self._declare(parameter)
        overrides = parameter_overrides(node)
        self.unknown = tuple(n for n in overrides if n not in BY_NAME and not n.startswith(_RCLPY_PARAMETERS))
        node.add_on_set_parameters_callback(self._check)

    def value(self, name: str) -> Value:
        """Return a parameter's present value, in its type."""
        return BY_NAME[name].check(self._node.get_parameter(name).value)

    def settings(self) -> Settings:
        """Return the present values of the parameters that may change at any time."""
        values = {p.name: self.value(p.name) for p in PARAMETERS if p.may_change == ANY_TIME}
        return Settings(**cast("dict[str, Any]", values))

    def text(self, name: str) -> str:
        """Return a string's present value."""
        return str(self.value(name))

    def names(self, name: str) -> tuple[str, ...]:
        """Return a list of strings' present value."""
        return cast("tuple[str, ...]", self.value(name))

    def _declare(self, parameter: Parameter) -> None:
        descriptor = ParameterDescriptor(description=parameter.description, read_only=parameter.may_change == AT_START)
        # Dynamic, so that `overlay_alpha:=1` is a number and a wrong type gets our message; the table checks the type.
        descriptor.dynamic_typing = True
        if parameter.choices:
            descriptor.additional_constraints = f"One of {', '.join(parameter.choices)}."
        if parameter.may_change == UNCONFIGURED:
            descriptor.additional_constraints += " Fixed while the node is configured."
        if parameter.type_name == "double":
            bounds = FloatingPointRange(from_value=parameter.minimum, to_value=parameter.maximum)
            descriptor.floating_point_range = [bounds]
        if parameter.type_name == "integer":
            descriptor.integer_range = [IntegerRange(from_value=parameter.minimum, to_value=parameter.maximum, step=1)]
        try:
            given = self._node.declare_parameter(parameter.name, parameter.default, descriptor)
            if parameter.check(given.value) == ():
                # An empty list has no type of its own; tools that list the parameters should show one.
                empty = RosParameter(parameter.name, RosParameter.Type.STRING_ARRAY, [])
                self._node.set_parameters([empty])
        except (InvalidParameterTypeException, InvalidParameterValueException, ParameterError) as error:
            self.errors[parameter.name] = str(error)
            if self._node.has_parameter(parameter.name):
                self._node.undeclare_parameter(parameter.name)
            self._node.declare_parameter(parameter.name, parameter.default, descriptor, ignore_override=True)

    def _check(self, changes: list[RosParameter]) -> SetParametersResult:
        accepted: dict[str, Value] = {}
        for change in changes:
            parameter = BY_NAME.get(change.name)
            if parameter is None:
                continue
            if parameter.may_change != ANY_TIME and self._is_configured():
                reason = (
                    f"Parameter '{change.name}' is fixed while the node is configured; deactivate and clean up first."
                )
                return SetParametersResult(successful=False, reason=reason)
            try:
                accepted[change.name] = parameter.check(change.value)
            except ParameterError as error:
                return SetParametersResult(successful=False, reason=str(error))
        for name in accepted:
            self.errors.pop(name, None)
        if accepted and self._is_configured():
            self._on_change(accepted)
        return SetParametersResult(successful=True)
