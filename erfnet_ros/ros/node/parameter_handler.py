"""The parameter table, declared on a node: described, ranged, and checked with the reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from rcl_interfaces.msg import FloatingPointRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from erfnet_ros.core.errors import ParameterError
from erfnet_ros.ros.node.parameters import BY_NAME, PARAMETERS, Parameter, Value

_FOREIGN = ("use_sim_time", "start_type_description_service", "qos_overrides.")
"""Parameters that rclpy itself declares."""


class Declaration:
    """The node's parameters.

    A value from the command line or a file that does not fit is not applied and kept in `faults`: the node stays up
    and can say what is wrong.

    Args:
        node: Where to declare.
        is_configured: Whether the parameters that decide what is loaded are in use.
        on_change: Called after values of a configured node were accepted, with the changed values.
    """

    def __init__(
        self, node: Node, is_configured: Callable[[], bool], on_change: Callable[[dict[str, Value]], None]
    ) -> None:
        self._node = node
        self._is_configured = is_configured
        self._on_change = on_change
        self.faults: dict[str, str] = {}
        for parameter in PARAMETERS:
            self._declare(parameter)
        self.unknown = self._unknown_overrides()
        node.add_on_set_parameters_callback(self._check)

    def value(self, name: str) -> Value:
        """Return a parameter's present value, in its type."""
        return BY_NAME[name].check(self._node.get_parameter(name).value)

    def number(self, name: str) -> float:
        """Return a double's present value."""
        return cast(float, self.value(name))

    def text(self, name: str) -> str:
        """Return a string's present value."""
        return str(self.value(name))

    def names(self, name: str) -> tuple[str, ...]:
        """Return a list of strings' present value."""
        return cast("tuple[str, ...]", self.value(name))

    def _declare(self, parameter: Parameter) -> None:
        descriptor = ParameterDescriptor(description=parameter.description, read_only=parameter.read_only)
        # Dynamic, so that `overlay_alpha:=1` is a number and a wrong type gets our message; the table checks the type.
        descriptor.dynamic_typing = True
        if parameter.choices:
            descriptor.additional_constraints = f"One of {', '.join(parameter.choices)}."
        if parameter.fixed_while_configured and not parameter.read_only:
            descriptor.additional_constraints += " Fixed while the node is configured."
        if parameter.minimum is not None and parameter.maximum is not None:
            bounds = FloatingPointRange(from_value=parameter.minimum, to_value=parameter.maximum)
            descriptor.floating_point_range = [bounds]
        try:
            given = self._node.declare_parameter(parameter.name, parameter.default, descriptor)
            if parameter.check(given.value) == ():
                # An empty list has no type of its own; tools that list the parameters should show one.
                empty = RosParameter(parameter.name, RosParameter.Type.STRING_ARRAY, [])
                self._node.set_parameters([empty])
        except (InvalidParameterTypeException, InvalidParameterValueException, ParameterError) as error:
            self.faults[parameter.name] = str(error)
            if self._node.has_parameter(parameter.name):
                self._node.undeclare_parameter(parameter.name)
            self._node.declare_parameter(parameter.name, parameter.default, descriptor, ignore_override=True)

    def _unknown_overrides(self) -> tuple[str, ...]:
        overrides = getattr(self._node, "_parameter_overrides", {})
        return tuple(sorted(name for name in overrides if name not in BY_NAME and not name.startswith(_FOREIGN)))

    def _check(self, changes: list[RosParameter]) -> SetParametersResult:
        accepted: dict[str, Value] = {}
        for change in changes:
            parameter = BY_NAME.get(change.name)
            if parameter is None:
                continue
            if parameter.fixed_while_configured and self._is_configured():
                reason = (
                    f"Parameter '{change.name}' is fixed while the node is configured; deactivate and clean up first."
                )
                return SetParametersResult(successful=False, reason=reason)
            try:
                accepted[change.name] = parameter.check(change.value)
            except ParameterError as error:
                return SetParametersResult(successful=False, reason=str(error))
        for name in accepted:
            self.faults.pop(name, None)
        if accepted and self._is_configured():
            self._on_change(accepted)
        return SetParametersResult(successful=True)
