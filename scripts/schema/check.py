"""Names become types, and everything that can be wrong in a schema is said here."""

import os
import re

from model import (BUILTINS, INT_LIMITS, ON_OFF_AUTO, Enum, Record, SchemaError, Struct, Type, Union,
                   nearest)
from syntax import Parser

SUFFIXES = {letter: 1 << (10 * power) for power, letter in enumerate('BKMGTPE')}


def integer(text, where):
    """A literal: decimal, hexadecimal, with a size suffix."""
    match = re.fullmatch(r'(-?(?:0x[0-9a-fA-F]+|[0-9]+))([BKMGTPE]?)', text)
    if not match:
        raise SchemaError(where, f"expected a number, found '{text}'")
    return int(match.group(1), 0) * SUFFIXES[match.group(2) or 'B']


def known_builtins():
    return {name: Type(name) for name in BUILTINS}


def files_of(folder):
    return sorted(f for f in os.listdir(folder) if f.endswith('.schema'))


class Checker:
    """Loads schema files with all that they use."""

    def __init__(self, folder, prefix='schema'):
        self.folder = folder
        self.prefix = prefix  # how messages show the folder
        self.modules = {}     # name -> Module; in order of completion
        self.loading = []
        self.builtins = known_builtins()

    def load(self, name, where='schema'):
        if name in self.modules:
            return self.modules[name]
        if name in self.loading:
            ring = ' -> '.join(self.loading[self.loading.index(name):] + [name])
            raise SchemaError(where, f"'{name}' uses itself: {ring}")
        path = os.path.join(self.folder, name + '.schema')
        if not os.path.exists(path):
            names = [f[:-len('.schema')] for f in files_of(self.folder)]
            raise SchemaError(where, f"no schema file '{name}'" + nearest(name, names))
        self.loading.append(name)
        with open(path, encoding='utf-8') as file:
            module = Parser(file.read(), f'{self.prefix}/{name}.schema', name).parse()
        module.used = [self.load(used, at) for used, at in module.uses]
        self.check(module)
        self.loading.pop()
        self.modules[name] = module
        return module

    def load_all(self):
        for file in files_of(self.folder):
            self.load(file[:-len('.schema')])
        self.check_unique_across()
        return list(self.modules.values())

    def check_unique_across(self):
        for kind, what in (('types', 'type'), ('commands', 'command'), ('events', 'event'),
                           ('options', 'option')):
            seen = {}
            for module in self.modules.values():
                for item in getattr(module, kind):
                    for name in [item.name] + getattr(item, 'aliases', []):
                        if name in seen:
                            raise SchemaError(
                                item.where, f"{what} '{name}' is already defined at {seen[name]}")
                        seen[name] = item.where

    # --- one module ---

    def visible(self, module):
        """Types that a module may name: its own, and those of what it uses."""
        types = dict(self.builtins)
        stack, done = [module], set()
        while stack:
            m = stack.pop()
            if m.name in done:
                continue
            done.add(m.name)
            stack.extend(m.used)
            for t in m.types:
                if t.name in types:
                    raise SchemaError(
                        t.where, f"type '{t.name}' is already defined at {types[t.name].where}")
                types[t.name] = t
        return types

    def check(self, module):
        for command in module.commands:
            if isinstance(command.args, Record):
                module.types.append(command.args)
        for event in module.events:
            if isinstance(event.args, Record):
                module.types.append(event.args)
        self.types = self.visible(module)
        for t in module.types:
            t.module = module
        for t in module.types:
            self.check_type(t)
        for t in module.types:
            if isinstance(t, Union):
                self.check_union(t)
        module.ordered = self.order(module)
        for command in module.commands:
            self.check_command(command)
        for event in module.events:
            self.check_event(event)
        for option in module.options:
            self.check_option(option)

    def resolve(self, name, where):
        if name not in self.types:
            raise SchemaError(where, f"unknown type '{name}'" + nearest(name, self.types))
        return self.types[name]

    def need_doc(self, item, what):
        if not item.doc.help:
            raise SchemaError(
                item.where, f"{what} '{item.name}' has no documentation: '## ...' before or behind it")

    def unique(self, items, what):
        seen = {}
        for item in items:
            if item.name in seen:
                raise SchemaError(item.where, f"{what} '{item.name}' is already at {seen[item.name]}")
            seen[item.name] = item.where

    def check_type(self, t):
        made_for_arguments = any(t is c.args for c in t.module.commands + t.module.events)
        if not made_for_arguments:
            if not re.fullmatch(r'[A-Z][A-Za-z0-9]*', t.name):
                raise SchemaError(t.where, f"type '{t.name}' is to be written LikeThis")
            self.need_doc(t, t.kind)
        if isinstance(t, Enum):
            self.unique(t.values, 'value')
            constants = {}
            for v in t.values:
                c = t.constant(v.name)
                if c in constants or v.name.lower() == 'count':
                    raise SchemaError(v.where, f"value '{v.name}' has the C name of another")
                constants[c] = v
            if not t.values:
                raise SchemaError(t.where, f"enum '{t.name}' has no value")
        elif isinstance(t, Record):
            self.check_record(t)
        else:
            self.unique(t.branches, 'branch')
            for b in t.branches:
                b.type = self.resolve(b.type_name, b.where)
            if len(t.branches) < 2:
                raise SchemaError(t.where, f"alternate '{t.name}' needs two branches or more")

    def check_record(self, t):
        if getattr(t, 'checked', False):
            return
        t.checked = True
        t.members = list(t.own_members)
        if t.base:
            base = self.resolve(t.base, t.where)
            if not isinstance(base, Record) or isinstance(base, Union) or base.opened:
                raise SchemaError(t.where, f"base '{t.base}' is not a closed record")
            if base.module is t.module:
                self.check_record(base)
            t.members = list(base.members) + t.own_members
        self.unique(t.members, 'member')
        idents = {}
        for m in t.own_members:
            self.check_member(m)
        for m in t.members:
            if m.c in idents or m.c == 'u':
                raise SchemaError(m.where, f"member '{m.name}' has the C name of another")
            idents[m.c] = m
        if t.implied and t.implied not in [m.name for m in t.members]:
            raise SchemaError(t.where, f"implied member '{t.implied}' is not one of the members"
                              + nearest(t.implied, [m.name for m in t.members]))
        if t.opened and t.opened.by and t.opened.by not in [m.name for m in t.members]:
            raise SchemaError(t.opened.where, f"'{t.opened.by}' is not one of the members")

    def check_member(self, m):
        self.need_doc(m, 'member')
        # A few names that clients have always known are in capitals.
        if not re.fullmatch(r'[a-z][a-zA-Z0-9_-]*|UUID', m.name):
            raise SchemaError(m.where, f"member '{m.name}' is to be written like-this")
        m.type = self.resolve(m.type_name, m.where)
        self.check_value(m)

    def check_value(self, m):
        """Default and range."""
        if m.default is not None:
            if m.optional:
                raise SchemaError(m.where, f"'{m.name}' has a default, so it is not optional: "
                                  "leave out the '?'")
            if m.is_list or m.type.is_struct or m.type.name in ('any', 'null'):
                raise SchemaError(m.where, f"'{m.name}' can't have a default: it is no scalar")
        if m.bounds and m.type.name not in INT_LIMITS and m.type.name not in ('number', 'str'):
            raise SchemaError(m.where, f"'{m.name}' can't have a range: it is no number")
        if m.bounds:
            m.low, m.high = (integer(b, m.where) for b in m.bounds)
            least, most = INT_LIMITS.get(m.type.name, (0 if m.type.name == 'str' else -2**63,
                                                       2**63 - 1))
            if not least <= m.low <= m.high <= most:
                raise SchemaError(m.where, f"range {m.low}..{m.high} of '{m.name}' is empty or more "
                                  f"than {m.type.name} holds")
        if m.default is None:
            return
        name = m.type.name
        if name in INT_LIMITS:
            m.value = integer(m.default, m.where)
            low, high = (m.low, m.high) if m.bounds else INT_LIMITS[name]
            if not low <= m.value <= high:
                raise SchemaError(m.where, f"default {m.default} of '{m.name}' is outside "
                                  f"{low}..{high}")
        elif name == 'bool':
            if m.default not in ('true', 'false'):
                raise SchemaError(m.where, f"default of '{m.name}' is true or false, "
                                  f"not '{m.default}'")
            m.value = m.default == 'true'
        elif name == 'number':
            try:
                m.value = float(m.default)
            except ValueError:
                raise SchemaError(m.where, f"expected a number, found '{m.default}'") from None
        elif name == 'str':
            m.value = m.default
        else:
            values = ON_OFF_AUTO if name == 'OnOffAuto' else [v.name for v in m.type.values]
            if m.default not in values:
                raise SchemaError(m.where, f"default '{m.default}' of '{m.name}' is not a value of "
                                  f"{name}" + nearest(m.default, values))
            m.value = m.default

    def check_union(self, t):
        found = [m for m in t.members if m.name == t.discriminator]
        if not found or not isinstance(found[0].type, Enum) or found[0].optional or found[0].is_list:
            raise SchemaError(t.where, f"'{t.discriminator}', which selects, has to be a member of "
                              "an enum type, not optional")
        t.selector = found[0]
        values = [v.name for v in t.selector.type.values]
        self.unique(t.branches, 'branch')
        for b in t.branches:
            if b.name not in values:
                raise SchemaError(b.where, f"'{b.name}' is not a value of {t.selector.type.name}"
                                  + nearest(b.name, values))
            b.type = self.resolve(b.type_name, b.where)
            if b.is_list or b.type.kind != 'record' or b.type.opened:
                raise SchemaError(b.where, f"branch '{b.name}' has to be a closed record")
            taken = {m.name: m.where for m in t.members}
            for m in b.type.members:
                if m.name in taken:
                    raise SchemaError(b.where, f"branch '{b.name}' has member '{m.name}' a second "
                                      f"time: it is already at {taken[m.name]}")

    def order(self, module):
        """Types so that what is embedded comes before what embeds it."""
        done, path = [], []

        def visit(t):
            if t in done or t.module is not module:
                return
            if t in path:
                ring = ' in '.join(p.name for p in path[path.index(t):] + [t])
                raise SchemaError(t.where, f"'{t.name}' contains itself ({ring}): make a member on "
                                  "the way optional")
            path.append(t)
            for inner in t.embedded() if isinstance(t, Struct) else []:
                visit(inner)
            path.pop()
            done.append(t)

        for t in module.types:
            visit(t)
        return done

    def struct_argument(self, item, what):
        if isinstance(item.args, str):
            t = self.resolve(item.args, item.where)
            if not isinstance(t, Record):
                raise SchemaError(item.where, f"the arguments of {what} '{item.name}' have to be a "
                                  f"record or union, not {t.name}")
            item.args = t
            item.named_args = True
        else:
            item.named_args = False

    def check_command(self, c):
        self.need_doc(c, 'command')
        self.struct_argument(c, 'command')
        if c.ret:
            c.ret = self.resolve(c.ret, c.where)
        if 'deferred' in c.flags and 'oob' in c.flags:
            raise SchemaError(c.where, f"command '{c.name}' can't be deferred and out of band")

    def check_event(self, e):
        self.need_doc(e, 'event')
        self.struct_argument(e, 'event')
        if not re.fullmatch(r'[A-Z][A-Z0-9_]*', e.name):
            raise SchemaError(e.where, f"event '{e.name}' is to be written LIKE_THIS")
        if e.rate_key and (not e.args or e.rate_key not in [m.name for m in e.args.members]):
            raise SchemaError(e.where, f"'{e.rate_key}' is not a member of event '{e.name}'")

    def check_option(self, o):
        self.need_doc(o, 'option')
        if o.argument:
            m = o.argument
            m.type = self.resolve(m.type_name, m.where)
            self.check_value_of_option(o, m)
        if o.repeat in ('merge',) and not (o.argument and isinstance(o.argument.type, Record)):
            raise SchemaError(o.where, f"option '{o.name}' can't merge: it is no record")
        if o.sugar and o.repeat != 'last':
            raise SchemaError(o.where, f"option '{o.name}' stands for others, which say how they "
                              "repeat")
        if o.argument and not o.metavar:
            raise SchemaError(o.where, f"option '{o.name}' needs its argument for the help: "
                              "\"FILE\"")

    def check_value_of_option(self, o, m):
        if m.default is not None or m.is_list:
            raise SchemaError(o.where, f"option '{o.name}' can have neither a default nor a list; "
                              "say append")
        self.check_value(m)
