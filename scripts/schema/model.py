"""What a schema file says, as Python objects.

Every object carries `where` ("schema/net.schema:12") so that each complaint names the line.
"""

import difflib
import re


class SchemaError(Exception):
    """A mistake in a schema file: one line, `FILE:LINE: what is wrong and what would be right`."""

    def __init__(self, where, message):
        super().__init__(f'{where}: {message}')


def nearest(word, candidates):
    """'; did you mean ...?' or nothing."""
    found = difflib.get_close_matches(word, candidates, 1, 0.76)
    return f"; did you mean '{found[0]}'?" if found else ''


KEYWORDS = frozenset('''auto break case char const continue default do double else enum extern float
for goto if inline int long register restrict return short signed sizeof static struct switch
typedef union unsigned void volatile while bool true false asm typeof unix linux errno stdin stdout
stderr NULL'''.split())


def c_name(name):
    """A C identifier for a name of the schema."""
    ident = re.sub(r'[^A-Za-z0-9_]', '_', name)
    if ident[0].isdigit():
        ident = '_' + ident
    return ident + '_' if ident in KEYWORDS else ident


def snake(name):
    """ChardevSocket -> chardev_socket, VNCInfo -> vnc_info, device_add -> device_add"""
    name = re.sub(r'([a-z0-9])([A-Z])', r'\1_\2', name)
    name = re.sub(r'([A-Z])([A-Z][a-z])', r'\1_\2', name)
    return re.sub(r'[^A-Za-z0-9]', '_', name).lower()


def upper(name):
    return snake(name).upper()


def camel(name):
    """device_add -> DeviceAdd, query-status -> QueryStatus"""
    return ''.join(part[:1].upper() + part[1:] for part in re.split(r'[^A-Za-z0-9]', name))


class Doc:
    """Documentation: the first paragraph is the one-line help."""

    def __init__(self, lines=()):
        self.lines = list(lines)

    @property
    def help(self):
        first = []
        for line in self.lines:
            if not line.strip():
                break
            first.append(line.strip())
        return ' '.join(first)

    @property
    def rest(self):
        """The paragraphs after the first."""
        for i, line in enumerate(self.lines):
            if not line.strip():
                return '\n'.join(self.lines[i + 1:]).strip()
        return ''


# Scalars of base/value.h: schema name -> (ValueType symbol, C type, member of Field.def)
BUILTINS = {
    'bool': ('value_type_bool', 'bool', 'u'),
    'str': ('value_type_str', 'char *', 's'),
    'any': ('value_type_any', 'json_t *', None),
    'null': ('value_type_null', 'bool', None),
    'number': ('value_type_number', 'double', 'd'),
    'size': ('value_type_size', 'uint64_t', 'u'),
    'size_mib': ('value_type_size_mib', 'uint64_t', 'u'),
    'int': ('value_type_int', 'int64_t', 'i'),
    'int8': ('value_type_int8', 'int8_t', 'i'),
    'int16': ('value_type_int16', 'int16_t', 'i'),
    'int32': ('value_type_int32', 'int32_t', 'i'),
    'int64': ('value_type_int64', 'int64_t', 'i'),
    'uint8': ('value_type_uint8', 'uint8_t', 'u'),
    'uint16': ('value_type_uint16', 'uint16_t', 'u'),
    'uint32': ('value_type_uint32', 'uint32_t', 'u'),
    'uint64': ('value_type_uint64', 'uint64_t', 'u'),
    'OnOffAuto': ('value_type_on_off_auto', 'OnOffAuto', 'i'),
}
INT_LIMITS = {f'{sign}int{bits}': ((0, 2**bits - 1) if sign else (-2**(bits - 1), 2**(bits - 1) - 1))
              for sign in ('', 'u') for bits in (8, 16, 32, 64)}
INT_LIMITS['int'] = INT_LIMITS['int64']
INT_LIMITS['size'] = INT_LIMITS['size_mib'] = (0, 2**64 - 1)
ON_OFF_AUTO = ['auto', 'on', 'off']


class Type:
    """A named type of the schema or a builtin."""

    kind = 'builtin'
    features = ()

    def __init__(self, name, where='builtin', doc=None):
        self.name = name
        self.where = where
        self.doc = doc or Doc()
        self.module = None

    @property
    def symbol(self):
        return BUILTINS[self.name][0]

    @property
    def list_symbol(self):
        return self.symbol + '_list'

    @property
    def c_type(self):
        return BUILTINS[self.name][1]

    @property
    def c_list(self):
        return camel(self.name) + 'List'

    @property
    def is_scalar(self):
        """Needs a bool beside it when optional."""
        return self.name not in ('str', 'any')

    @property
    def is_struct(self):
        """Held by pointer when optional."""
        return False

    def c_param(self, name):
        """As a parameter of a function that only reads it."""
        return f'const char *{name}' if self.name == 'str' else \
            self.c_type + ('' if self.c_type.endswith('*') else ' ') + name


class NamedType(Type):
    @property
    def symbol(self):
        return 'value_type_' + snake(self.name)

    @property
    def c_type(self):
        return self.name


class EnumValue:
    def __init__(self, name, where, doc, flags):
        self.name, self.where, self.doc, self.flags = name, where, doc, flags


class Enum(NamedType):
    kind = 'enum'

    def __init__(self, name, where, doc, prefix, values):
        super().__init__(name, where, doc)
        self.prefix = prefix or upper(name)
        self.values = values

    def constant(self, value):
        return self.prefix + '_' + re.sub(r'[^A-Za-z0-9]', '_', value).upper()


class Struct(NamedType):
    is_scalar = False
    is_struct = True

    def c_param(self, name):
        return f'const {self.name} *{name}'


class Record(Struct):
    kind = 'record'

    def __init__(self, name, where, doc, members, base=None, opened=None, implied=None,
                 features=()):
        super().__init__(name, where, doc)
        self.own_members = members
        self.base = base          # name
        self.opened = opened      # Open or None
        self.implied = implied
        self.features = features
        self.members = members    # with those of the base; set by the checker

    def embedded(self):
        return [m.type for m in self.members if m.type.is_struct and not m.pointer and not m.is_list]


class Open:
    """`...`: keys that no member has are collected."""

    def __init__(self, where, by=None, of=None):
        self.where, self.by, self.of = where, by, of
        self.unlisted = False


class Branch:
    def __init__(self, name, where, doc, type_name):
        self.name, self.where, self.doc, self.type_name = name, where, doc, type_name
        self.type = None
        self.is_list = False


class Union(Record):
    kind = 'union'

    def __init__(self, name, where, doc, members, discriminator, branches, base=None, implied=None,
                 features=()):
        super().__init__(name, where, doc, members, base=base, implied=implied, features=features)
        self.discriminator = discriminator
        self.branches = branches

    def embedded(self):
        return super().embedded() + [b.type for b in self.branches]


class Alternate(Struct):
    kind = 'alternate'

    def __init__(self, name, where, doc, branches):
        super().__init__(name, where, doc)
        self.branches = branches

    def embedded(self):
        return [b.type for b in self.branches if b.type.is_struct and not b.is_list]


class Member:
    def __init__(self, name, where, doc, type_name, is_list, optional, default, bounds, flags):
        self.name, self.where, self.doc = name, where, doc
        self.type_name, self.is_list, self.optional = type_name, is_list, optional
        self.default = default  # text or None
        self.bounds = bounds    # (low, high) texts or None
        self.flags = flags
        self.type = None

    @property
    def c(self):
        return c_name(self.name)

    @property
    def pointer(self):
        return self.optional and not self.is_list and self.type.is_struct

    @property
    def has(self):
        return self.optional and not self.is_list and self.type.is_scalar


class Command:
    def __init__(self, name, where, doc, args, ret, ret_is_list, flags, features):
        self.name, self.where, self.doc = name, where, doc
        self.args = args  # Record, name of one, or None
        self.ret, self.ret_is_list = ret, ret_is_list
        self.flags, self.features = flags, features


class Event:
    def __init__(self, name, where, doc, args, rate_ms, rate_key, flags, features):
        self.name, self.where, self.doc, self.args = name, where, doc, args
        self.rate_ms, self.rate_key = rate_ms, rate_key
        self.flags, self.features = flags, features


class Option:
    def __init__(self, name, where, doc, argument, metavar, aliases, repeat, group, flags, sugar,
                 section):
        self.name, self.where, self.doc = name, where, doc
        self.argument = argument  # Member or None
        self.metavar, self.aliases, self.repeat, self.group = metavar, aliases, repeat, group
        self.flags, self.sugar, self.section = flags, sugar, section


class Section:
    """A heading of the option help; lower orders come first."""

    def __init__(self, title, order, where):
        self.title, self.order, self.where = title, order, where


class Module:
    """One schema file."""

    def __init__(self, name, path):
        self.name, self.path = name, path
        self.uses = []      # (name, where)
        self.types = []
        self.commands = []
        self.events = []
        self.options = []
        self.sections = []
        self.doc = Doc()
