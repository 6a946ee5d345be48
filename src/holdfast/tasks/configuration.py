"""From a YAML file, `--set` options or keyword arguments to one tree of options, and back to YAML."""

from __future__ import annotations

import dataclasses
import difflib
import reprlib
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from holdfast.errors import ConfigError, require
from holdfast.options import Options

OptionsTree = TypeVar("OptionsTree", bound=Options)
MAX_CONFIG_FILE_BYTES = 1 << 20
BLOCK_SIGNS = frozenset("|>#-?:&*!%@`,")


def configure(
    kind: type[OptionsTree],
    *,
    file: str | Path | None = None,
    settings: Sequence[str] = (),
    values: Mapping[str, Any] | None = None,
) -> OptionsTree:
    """One tree of options from its defaults, a YAML file, keyword values and `group.key=value` settings.

    Later ones win. A bare key that only one group has may stand without its group: `epochs=3`.

    Args:
        kind: the class of the tree: its fields are groups of options.
        file: a YAML file such as `holdfast init` prints.
        settings: texts such as `"network.hidden=64"`; values are read as YAML.
        values: keyword values by key, or by group.

    Returns:
        The validated tree.

    Raises:
        ConfigError: an unknown key, a value of the wrong type or out of range, an unreadable file.
    """
    tree: dict[str, Any] = {}
    if file is not None:
        tree = _read_yaml(Path(file))
        _refuse_unknown(kind, tree, str(file))
    for name, value in (values or {}).items():
        _put(kind, tree, name, dataclasses.asdict(value) if isinstance(value, Options) else value, f"{name}=")
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set {setting}: give it as group.key=value, such as training.epochs=3")
        _put(kind, tree, name.strip(), _yaml_value(text, setting), f"--set {setting}:")
    return parse(kind, tree, str(file) if file is not None else "options")


def parse(kind: type[OptionsTree], tree: Mapping[str, Any], source: str) -> OptionsTree:
    """Validate nested plain values as options of `kind`; `source` names them in messages.

    Raises:
        ConfigError: an unknown key, a value of the wrong type or out of range.
    """
    pydantic = require("pydantic", "train", "reading options")
    _refuse_unknown(kind, tree, source)
    try:
        return pydantic.TypeAdapter(kind).validate_python(dict(tree))  # type: ignore[no-any-return]
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        problem = str(first["msg"]).removeprefix("Value error, ")
        got = "" if isinstance(first["input"], dict) else f", got {reprlib.repr(first['input'])}"
        raise ConfigError(f"{source}: {place}: {problem}{got}") from None


def to_yaml(options: Options) -> str:
    """`options` as YAML in which every option stands with its meaning."""
    lines = []
    for group in dataclasses.fields(options):
        section = getattr(options, group.name)
        lines += [f"# {(type(section).__doc__ or '').strip().splitlines()[0]}", f"{group.name}:"]
        for field in dataclasses.fields(section):
            text = _yaml_text(getattr(section, field.name))
            lines.append(
                f"  {field.name}: {text}".ljust(36) + f"  # {field.metadata['meaning']}{_range(field)}"
            )
        lines.append("")
    return "\n".join(lines)


def _range(field: dataclasses.Field[Any]) -> str:
    low, high = field.metadata.get("at_least"), field.metadata.get("at_most")
    if low is None and high is None:
        return ""
    if high is None:
        return f" ({low:g} or more)"
    return f" ({'up' if low is None else format(low, 'g')} to {high:g})"


def _yaml_text(value: Any) -> str:
    yaml = require("yaml", "train", "printing options")
    plain = list(value) if isinstance(value, tuple) else value
    return str(yaml.safe_dump(plain, default_flow_style=True, width=1000)).removesuffix("\n...\n").strip()


def _yaml_value(text: str, setting: str) -> Any:
    yaml = require("yaml", "train", "reading options")
    if text.strip() in BLOCK_SIGNS:  # a sign such as | opens a block in YAML; here it is the value
        return text.strip()
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ConfigError(f"--set {setting}: {text!r} is not a YAML value") from None


def _read_yaml(path: Path) -> dict[str, Any]:
    yaml = require("yaml", "train", "reading a configuration file")
    if not path.is_file():
        raise ConfigError(f"{path}: no such configuration file; `holdfast init TASK > {path.name}` makes one")
    if path.stat().st_size > MAX_CONFIG_FILE_BYTES:
        raise ConfigError(f"{path}: {path.stat().st_size} bytes is no configuration file")
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, OSError, ValueError, RecursionError) as error:
        place = getattr(error, "problem_mark", None)
        line = f", line {place.line + 1}" if place is not None else ""
        raise ConfigError(f"{path}{line}: not readable as YAML: {getattr(error, 'problem', error)}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: holds a {type(tree).__name__}; it must hold groups of options")
    return {group: {} if section is None else section for group, section in tree.items()}


def _groups(kind: type[Options]) -> dict[str, type[Options]]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _put(kind: type[Options], tree: dict[str, Any], name: str, value: Any, asked: str) -> None:
    groups = _groups(kind)
    if name in groups:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{asked} {name} is a group of options; set one of its keys: {name}.KEY")
        tree.setdefault(name, {}).update(value)
        return
    group, dot, key = name.partition(".")
    if not dot:
        holders = [g for g, options in groups.items() if name in _names(options)]
        if len(holders) != 1:
            raise ConfigError(
                _unknown(asked, name, groups) if not holders else _ambiguous(asked, name, holders)
            )
        group, key = holders[0], name
    if group not in groups or key not in _names(groups[group]):
        raise ConfigError(_unknown(asked, name, groups))
    tree.setdefault(group, {})[key] = value


def _names(options: type[Options]) -> list[str]:
    return [field.name for field in dataclasses.fields(options)]


def _ambiguous(asked: str, name: str, holders: list[str]) -> str:
    return f"{asked} {name} could be {' or '.join(f'{group}.{name}' for group in holders)}; give the group"


def _unknown(asked: str, name: str, groups: Mapping[str, type[Options]]) -> str:
    known = [f"{group}.{key}" for group, options in groups.items() for key in _names(options)]
    bare = {full.partition(".")[2]: full for full in known}
    near = difflib.get_close_matches(name, known, 1) or [
        bare[key] for key in difflib.get_close_matches(name.rpartition(".")[2], bare, 1)
    ]
    hint = f" Did you mean {near[0]}?" if near else " `holdfast init TASK` prints every option."
    return f"{asked} there is no option {name!r}.{hint}"


def _refuse_unknown(kind: type[Options], tree: Mapping[str, Any], source: str) -> None:
    groups = _groups(kind)
    for group, section in tree.items():
        if group not in groups:
            raise ConfigError(f"{source}: there is no group {group!r}; the groups are {', '.join(groups)}")
        if not isinstance(section, Mapping):
            raise ConfigError(f"{source}: {group} must hold options, got {reprlib.repr(section)}")
        defaults = {field.name: field.default for field in dataclasses.fields(groups[group])}
        for key, value in section.items():
            if key not in defaults:
                raise ConfigError(_unknown(f"{source}:", f"{group}.{key}", groups))
            if isinstance(value, bool) and not isinstance(defaults[key], bool):
                raise ConfigError(f"{source}: {group}.{key} is no yes-or-no option, got {value}")
