"""What a field leaves on its model, to be read and assigned."""

from __future__ import annotations

import inspect

from django.db.models import Model

from safefield.fields import AnyField


def has_own_attribute(model: type[Model], field: AnyField) -> bool:
    """
    Return whether assigning `field` may do more than set its own column.

    As with django-money, whose attribute also sets the currency.
    """
    return model.__setattr__ is not object.__setattr__ or bool(
        get_setters(model, field)
    )


def get_setters(model: type[Model], field: AnyField) -> list[str]:
    """
    Return the names of what may set more than the column of `field`.

    Django's own attributes set one column each, but for an image that has its
    width and height in columns of their own.
    """
    names = []
    has_dimensions = any(
        getattr(field, name, None) for name in ("width_field", "height_field")
    )
    for name in dict.fromkeys([field.name, field.attname]):
        attribute = inspect.getattr_static(model, name, None)
        setter = getattr(type(attribute), "__set__", None)
        module = str(getattr(setter, "__module__", None))
        if setter is not None and (has_dimensions or not module.startswith("django.")):
            names.append(f"{type(attribute).__name__}.__set__()")
    return names
