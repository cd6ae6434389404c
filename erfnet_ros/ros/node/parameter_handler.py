"""Declaration and validation of the parameter table on a node."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar, cast

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from erfnet_ros.core.errors import ParameterError
from erfnet_ros.core.printable_text import printable
from erfnet_ros.ros.node.parameters import ANY_TIME, AT_START, UNCONFIGURED, Parameter, Value
from erfnet_ros.ros.rclpy_compat import parameter_overrides


class TableNode(Node):
    """A node whose parameters are set in the types of a table: 1 as a double, an empty list as strings."""

    parameter_table: ClassVar[Mapping[str, Parameter]]
    """Its parameters by name."""

    def set_parameters_atomically(self, parameter_list: list[RosParameter[Any]]) -> SetParametersResult:
        """Set the parameters, each in the type that it is declared with."""
        table = self.parameter_table
        return super().set_parameters_atomically([_in_declared_type(parameter, table) for parameter in parameter_list])


class ParameterHandler:
    """The node's parameters.

    A value from the command line or a file that does not fit is not applied but kept in `errors`: the node stays up
    and can report what is wrong.

    Args:
        node: The node to declare them on.
        on_change: Called with the names of parameters whose new values were accepted.
        check_settings: Raises ParameterError where new `settings` do not fit each other.

    Attributes:
        errors: Why a parameter's value at start was not applied, by name.
        warnings: A sentence for each name that was set at start and is no parameter of the node.
    """

    def __init__(
        self,
        node: TableNode,
        on_change: Callable[[Collection[str]], None],
        check_settings: Callable[[Mapping[str, Any]], object] = dict,
    ) -> None:
        self._node = node
        self._table = node.parameter_table
        self._check_settings = check_settings
        self._on_change = on_change
        self._lock = threading.Lock()
        self._fixed = False
        self._values: dict[str, Value] = {}
        self.errors: dict[str, str] = {}
        for parameter in self._table.values():
            self._declare(parameter)
        self.warnings = tuple(
            f"Parameter '{printable(name)}' was set but this node has none of that name; see ros2 param list."
            for name in parameter_overrides(node)
            if not node.has_parameter(name)
        )
        node.add_on_set_parameters_callback(self._check)

    def fix(self, fixed: bool) -> None:
        """Let only parameters of ANY_TIME change, or all again; a value that was accepted before is used."""
        with self._lock:
            self._fixed = fixed

    def value(self, name: str) -> Value:
        """Return a parameter's present value, in its type."""
        return self._values[name]

    def settings(self) -> dict[str, Any]:
        """Return the present values of the parameters that may change at any time."""
        return {name: self._values[name] for name, row in self._table.items() if row.may_change == ANY_TIME}

    def text(self, name: str) -> str:
        """Return a string's present value."""
        return str(self.value(name))

    def values(self) -> dict[str, Value]:
        """Return the present values of all parameters."""
        return dict(self._values)

    def number(self, name: str) -> float:
        """Return a number's present value."""
        return cast("float", self.value(name))

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
            self._values[parameter.name] = parameter.check(given.value)
            if (typed := _in_declared_type(given, self._table)) is not given:
                self._node.set_parameters([typed])
        except (InvalidParameterTypeException, InvalidParameterValueException, ParameterError) as error:
            self.errors[parameter.name] = str(error)
            if self._node.has_parameter(parameter.name):
                self._node.undeclare_parameter(parameter.name)
            self._node.declare_parameter(parameter.name, parameter.default, descriptor, ignore_override=True)
            self._values[parameter.name] = parameter.default

    def _check(self, changes: list[RosParameter]) -> SetParametersResult:
        accepted: dict[str, Value] = {}
        with self._lock:
            for change in changes:
                parameter = self._table.get(change.name)
                if parameter is None:
                    continue
                if parameter.may_change != ANY_TIME and self._fixed:
                    reason = (
                        f"Parameter '{change.name}' is fixed while the node is configured, or being configured; "
                        "deactivate and clean up first."
                    )
                    return SetParametersResult(successful=False, reason=reason)
                try:
                    accepted[change.name] = parameter.check(change.value)
                except ParameterError as error:
                    return SetParametersResult(successful=False, reason=str(error))
            try:
                self._check_settings({**self.settings(), **accepted})
            except ParameterError as error:
                return SetParametersResult(successful=False, reason=str(error))
            self._values.update(accepted)
        for name in accepted:
            self.errors.pop(name, None)
        self._on_change(accepted)
        return SetParametersResult(successful=True)


def _in_declared_type(parameter: RosParameter, table: Mapping[str, Parameter]) -> RosParameter:
    """Return a whole number for a double as a double, and an empty list, which comes without a type, as strings."""
    row = table.get(parameter.name)
    if row is not None and row.type_name == "double" and parameter.type_ == RosParameter.Type.INTEGER:
        return RosParameter(parameter.name, RosParameter.Type.DOUBLE, float(parameter.value))
    if row is not None and row.type_name == "string_array" and parameter.value is None:
        return RosParameter(parameter.name, RosParameter.Type.STRING_ARRAY, [])
    return parameter
