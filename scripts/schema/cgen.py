"""From a checked module to its C header and source: the tables that base/value.h and
base/schema.h describe, and the prototypes of what hand-written code provides."""

from model import ON_OFF_AUTO, Alternate, Enum, Record, Union, c_name, snake, upper

BANNER = '/* Made from {path} by scripts/schema. Edit that file. */\n'
COLUMNS = 100


def quote(text):
    out = text.replace('\\', '\\\\').replace('"', '\\"')
    return '"' + ''.join(c if c >= ' ' else f'\\{ord(c):03o}' for c in out) + '"'


def number(value, unsigned=False):
    """A literal for an int64_t or uint64_t."""
    if unsigned:
        return f'UINT64_C({value})'
    if value == -2**63:
        return 'INT64_MIN'
    if value >= 2**63:
        return f'(int64_t)UINT64_C({value})'
    return f'INT64_C({value})'


class Writer:
    def __init__(self):
        self.parts = []

    def line(self, text=''):
        self.parts.append(text)

    def text(self):
        return '\n'.join(self.parts) + '\n'


def command_function(c):
    return 'qmp_' + snake(c.name)


def handler(c):
    """The prototype of the function that does the work."""
    params = []
    if 'monitor' in c.flags:
        params.append('struct Monitor *monitor')
    if c.args:
        params.append(f'const {c.args.c_type} *args')
    if 'deferred' in c.flags:
        params.append('QmpReply *reply')
    elif c.ret:
        ret = c.ret.c_list if c.ret_is_list else c.ret.c_type
        params.append(f'{ret} *ret' if not ret.endswith('*') else f'{ret}*ret')
    params.append('Error **errp')
    return f'bool {command_function(c)}({", ".join(params)})'


def reply_function(c):
    if not c.ret:
        return f'void {command_function(c)}_reply(QmpReply *reply)'
    ret = c.ret.c_list if c.ret_is_list else c.ret.c_type
    star = '*' if not ret.endswith('*') else 'const*'
    const = 'const ' if not ret.endswith('*') else ''
    return f'void {command_function(c)}_reply(QmpReply *reply, {const}{ret} {star}ret)'


def event_params(e):
    if not e.args:
        return 'void'
    if e.named_args:
        return f'const {e.args.c_type} *data'
    params = []
    for m in e.args.members:
        if m.is_list:
            params.append(f'const {m.type.c_list} *{m.c}')
        else:
            if m.has:
                params.append(f'bool has_{m.c}')
            params.append(m.type.c_param(m.c))
    return ', '.join(params) or 'void'


def event_function(e):
    return f'void qmp_event_{snake(e.name)}({event_params(e)})'


def member_type(m):
    if m.is_list:
        return m.type.c_list
    return m.type.c_type + (' *' if m.pointer else '')


# --- header ---

def declare_enum(w, t):
    w.line(f'typedef enum {t.name} {{')
    for v in t.values:
        w.line(f'    {t.constant(v.name)},' + (f' /* {v.doc.help} */' if v.doc.help else ''))
    w.line(f'    {t.prefix}_COUNT,')
    w.line(f'}} {t.name};')
    w.line(f'extern const EnumDesc enum_{snake(t.name)};')


def declare_members(w, members):
    for m in members:
        ctype = member_type(m)
        w.line(f'    {ctype}{"" if ctype.endswith("*") else " "}{m.c};')
        if m.has:
            w.line(f'    bool has_{m.c};')


def declare_struct(w, t):
    if isinstance(t, Alternate):
        prefix = upper(t.name)
        w.line(f'typedef enum {t.name}Kind {{')
        for b in t.branches:
            w.line(f'    {prefix}_{upper(b.name)},')
        w.line(f'}} {t.name}Kind;')
    w.line(f'struct {t.name} {{')
    if isinstance(t, Alternate):
        w.line(f'    {t.name}Kind kind;')
        declare_branches(w, t)
    else:
        declare_members(w, t.members)
        if isinstance(t, Union):
            declare_branches(w, t)
        if not t.members:
            w.line('    char empty_;')
        if t.opened:
            w.line('    json_t *rest; /* keys that no member has; NULL when there are none */')
    w.line('};')


def declare_branches(w, t):
    if not t.branches:
        return
    w.line('    union {')
    for b in t.branches:
        ctype = b.type.c_list if b.is_list else b.type.c_type
        w.line(f'        {ctype}{"" if ctype.endswith("*") else " "}{c_name(b.name)};')
    w.line('    } u;')


def header(module):
    w = Writer()
    guard = f'SCHEMA_{upper(module.name)}_H'
    w.line(BANNER.format(path=module.path) + f'#ifndef {guard}\n#define {guard}\n')
    w.line('#include "base/schema.h"')
    for used in module.used:
        w.line(f'#include "schema/{used.name}.h"')
    w.line()
    for t in module.ordered:
        if not isinstance(t, Enum):
            w.line(f'typedef struct {t.name} {t.name};')
        else:
            declare_enum(w, t)
        w.line(f'VALUE_LIST_OF({t.c_list}, {t.name});')
        w.line(f'extern const ValueType {t.symbol}, {t.list_symbol};\n')
    for t in module.ordered:
        if not isinstance(t, Enum):
            declare_struct(w, t)
            w.line()
    for c in module.commands:
        w.line(f'/* {c.name}: {c.doc.help} */')
        w.line(f'MUST_CHECK {handler(c)};')
        if 'deferred' in c.flags:
            w.line(f'{reply_function(c)};')
    if module.commands:
        w.line()
    for e in module.events:
        w.line(f'/* {e.name}: {e.doc.help} */')
        w.line(f'{event_function(e)};')
    if module.events:
        w.line()
    for o in module.options:
        w.line(f'/* -{o.name}: {o.doc.help} */')
        w.line(f'extern const OptionInfo option_{c_name(o.name)};')
        if o.argument:
            ctype = o.argument.type.c_type
            w.line(f'typedef {ctype}{"" if ctype.endswith("*") else " "}'
                   f'option_type_{c_name(o.name)};')
        elif not o.sugar:
            w.line(f'typedef bool option_type_{c_name(o.name)};')
    w.line('\n#endif')
    return w.text()


# --- source ---

def flags_text(*flags):
    return ' | '.join(f for f in flags if f) or '0'


def stability(flags, prefix):
    return flags_text(f'{prefix}_UNSTABLE' if 'unstable' in flags else '',
                      f'{prefix}_DEPRECATED' if 'deprecated' in flags else '')


def default(m):
    if m.default is None:
        return ''
    name = m.type.name
    if name == 'str':
        return f', .def.s = {quote(m.value)}'
    if name == 'bool':
        return f', .def.u = {int(m.value)}'
    if name == 'number':
        return f', .def.d = {m.value!r}'
    if name == 'OnOffAuto':
        return f', .def.i = {ON_OFF_AUTO.index(m.value)}'
    if isinstance(m.type, Enum):
        return f', .def.i = {m.type.constant(m.value)}'
    unsigned = name.startswith(('uint', 'size'))
    return f', .def.{"u" if unsigned else "i"} = {number(m.value, unsigned)}'


def field(m, struct):
    """The Field row of a member; struct None: a value of its own, at offset 0."""
    flags = flags_text(
        'FIELD_OPTIONAL' if m.optional else '', 'FIELD_DEFAULT' if m.default is not None else '',
        'FIELD_POINTER' if struct and m.pointer else '', 'FIELD_RANGE' if m.bounds else '',
        'FIELD_UNSTABLE' if 'unstable' in m.flags else '',
        'FIELD_DEPRECATED' if 'deprecated' in m.flags else '')
    row = f'{{ .name = {quote(m.name)}, .type = &{m.type.list_symbol if m.is_list else m.type.symbol}'
    if struct:
        row += f', .offset = offsetof({struct}, {m.c})'
    if struct and m.has:
        row += f', .has_offset = offsetof({struct}, has_{m.c})'
    if flags != '0':
        row += f', .flags = {flags}'
    row += default(m)
    if m.bounds:
        row += f', .min = {number(m.low)}, .max = {number(m.high)}'
    if m.doc.help:
        row += f', .help = {quote(m.doc.help)}'
    return row + ' }'


def string_list(w, symbol, names):
    """A static NULL-terminated array; returns what to point to it with."""
    if not names:
        return None
    w.line(f'static const char *const {symbol}[] = {{')
    w.line('    ' + ', '.join([quote(n) for n in names] + ['NULL']) + '\n};')
    return symbol


def define_enum(w, t):
    s = snake(t.name)
    w.line(f'static const char *const {s}_names[] = {{')
    for v in t.values:
        w.line(f'    [{t.constant(v.name)}] = {quote(v.name)},')
    w.line('};')
    has_help = any(v.doc.help for v in t.values)
    if has_help:
        w.line(f'static const char *const {s}_help[] = {{')
        for v in t.values:
            if v.doc.help:
                w.line(f'    [{t.constant(v.name)}] = {quote(v.doc.help)},')
        w.line(f'    [{t.prefix}_COUNT] = NULL,')
        w.line('};')
    has_flags = any(v.flags for v in t.values)
    if has_flags:
        w.line(f'static const unsigned {s}_flags[{t.prefix}_COUNT] = {{')
        for v in t.values:
            if v.flags:
                w.line(f'    [{t.constant(v.name)}] = {stability(v.flags, "FIELD")},')
        w.line('};')
    w.line(f'const EnumDesc enum_{s} = {{\n    .name = "{t.name}", .names = {s}_names, '
           f'.help = {s + "_help" if has_help else "NULL"}, .count = {t.prefix}_COUNT'
           + (f', .flags = {s}_flags' if has_flags else '') + '\n};')
    w.line(f'const ValueType {t.symbol} = {{\n    .kind = VALUE_ENUM, .name = "{t.name}", '
           f'.size = sizeof({t.name}), .enumeration = &enum_{s}\n}};')


def define_record(w, t):
    s = snake(t.name)
    w.line(f'static const Field {s}_fields[] = {{')
    for m in t.members:
        w.line(f'    {field(m, t.name)},')
    w.line('    {}\n};')
    rest = ''
    if t.opened:
        rest += f', .rest_offset = offsetof({t.name}, rest)'
        if t.opened.by:
            rest += f', .rest_by = {quote(t.opened.by)}, .rest_of = {quote(t.opened.of)}'
        if t.opened.unlisted:
            rest += ', .rest_unlisted = true'
    if t.implied:
        rest += f', .implied = {quote(t.implied)}'
    if isinstance(t, Union):
        tag = t.selector.type
        w.line(f'static const ValueType *const {s}_variants[] = {{')
        for b in t.branches:
            w.line(f'    [{tag.constant(b.name)}] = &{b.type.symbol},')
        w.line(f'    [{tag.prefix}_COUNT] = NULL,\n}};')
        rest += (f', .discriminator = &{s}_fields[{t.members.index(t.selector)}]'
                 f', .variants = {s}_variants')
        if t.branches:
            rest += f', .variant_offset = offsetof({t.name}, u)'
    features = string_list(w, f'{s}_features', t.features)
    kind = 'VALUE_UNION' if isinstance(t, Union) else 'VALUE_RECORD'
    w.line(f'const ValueType {t.symbol} = {{\n    .kind = {kind}, .name = "{t.name}", '
           f'.size = sizeof({t.name}),' + (f' .features = {features},' if features else '')
           + f'\n    .record = {{ .fields = {s}_fields{rest} }}\n}};')


def define_alternate(w, t):
    s = snake(t.name)
    w.line(f'static const AlternateBranch {s}_branches[] = {{')
    for b in t.branches:
        w.line(f'    {{ {quote(b.name)}, &{b.type.list_symbol if b.is_list else b.type.symbol} }},')
    w.line('};')
    w.line(f'const ValueType {t.symbol} = {{\n    .kind = VALUE_ALTERNATE, .name = "{t.name}", '
           f'.size = sizeof({t.name}),\n    .alternate = {{ {s}_branches, {len(t.branches)}, '
           f'offsetof({t.name}, u) }}\n}};')


def define_thunk(w, c):
    call = []
    if 'monitor' in c.flags:
        call.append('monitor')
    if c.args:
        call.append('args')
    if c.ret or 'deferred' in c.flags:
        call.append('ret')
    call.append('errp')
    w.line(f'static bool run_{snake(c.name)}(struct Monitor *monitor, const void *args, void *ret, '
           f'Error **errp)\n{{\n    return {command_function(c)}({", ".join(call)});\n}}\n')


def ret_symbol(c):
    if not c.ret:
        return 'NULL'
    return '&' + (c.ret.list_symbol if c.ret_is_list else c.ret.symbol)


def define_commands(w, module):
    features = {}
    for c in module.commands:
        define_thunk(w, c)
        if 'deferred' in c.flags:
            w.line(f'{reply_function(c)}\n{{\n    qmp_reply_value(reply, {ret_symbol(c)}, '
                   f'{"ret" if c.ret else "NULL"});\n}}\n')
        features[c] = string_list(w, f'command_{snake(c.name)}_features', c.features)
    w.line('static const QmpCommand commands[] = {')
    for c in sorted(module.commands, key=lambda c: c.name):
        flags = flags_text(*[f'QMP_COMMAND_{f.upper()}' for f in c.flags if f != 'monitor'])
        row = f'.name = {quote(c.name)}'
        if c.args:
            row += f', .args = &{c.args.symbol}'
        if c.ret:
            row += f', .ret = {ret_symbol(c)}'
        if flags != '0':
            row += f', .flags = {flags}'
        if features[c]:
            row += f', .features = {features[c]}'
        w.line(f'    {{ {row},\n      .help = {quote(c.doc.help)}, .run = run_{snake(c.name)} }},')
    w.line('    {}\n};\n')


def event_field(m):
    """The initialiser of one member from the parameters; nothing is copied."""
    if m.is_list:
        items = f'{m.c} ? ({m.type.c_list}){{ {m.c}->len, {m.c}->items }} : ({m.type.c_list}){{}}'
        return f'.{m.c} = {items}'
    if m.pointer:
        return f'.{m.c} = ({m.type.c_type} *){m.c}'
    if m.type.is_struct:
        return f'.{m.c} = *{m.c}'
    value = f'({m.type.c_type}){m.c}' if m.type.c_type.endswith('*') else m.c
    return f'.{m.c} = {value}' + (f', .has_{m.c} = has_{m.c}' if m.has else '')


def define_events(w, module):
    for e in module.events:
        s = snake(e.name)
        features = string_list(w, f'event_{s}_features', e.features)
        row = f'.name = {quote(e.name)}'
        if e.args:
            row += f', .data = &{e.args.symbol}'
        if e.flags:
            row += f', .flags = {stability(e.flags, "QMP_COMMAND")}'
        if features:
            row += f', .features = {features}'
        if e.rate_ms:
            row += f', .rate_ns = INT64_C({e.rate_ms * 1000000})'
        if e.rate_key:
            row += f', .rate_key = {quote(e.rate_key)}'
        w.line(f'static const QmpEvent event_{s} = {{\n    {row},\n    .help = {quote(e.doc.help)}\n'
               '};\n')
        w.line(f'{event_function(e)}\n{{')
        if not e.args:
            w.line(f'    qmp_event_emit(&event_{s}, NULL);\n}}\n')
        elif e.named_args:
            w.line(f'    qmp_event_emit(&event_{s}, data);\n}}\n')
        else:
            fields = ', '.join(event_field(m) for m in e.args.members)
            w.line(f'    {e.args.c_type} data = {{ {fields} }};\n')
            w.line(f'    qmp_event_emit(&event_{s}, &data);\n}}\n')
    rows = ', '.join([f'&event_{snake(e.name)}' for e in module.events] + ['NULL'])
    w.line(f'static const QmpEvent *const events[] = {{ {rows} }};\n')


REPEATS = {'last': 'OPTION_LAST', 'once': 'OPTION_ONCE', 'merge': 'OPTION_MERGE',
           'append': 'OPTION_APPEND'}


def define_options(w, module):
    for i, section in enumerate(module.sections):
        section.symbol = f'section_{i}'
        w.line(f'static const OptionSection {section.symbol} = {{ {quote(section.title)}, '
               f'{section.order} }};')
    for o in module.options:
        s = c_name(o.name)
        row = f'.name = {quote(o.name)}, .group = {quote(o.group)}'
        if o.argument:
            o.argument.doc = o.doc
            w.line(f'static const Field option_value_{s} = {field(o.argument, None)};')
            row += f', .value = &option_value_{s}'
        if o.metavar:
            row += f', .metavar = {quote(o.metavar)}'
        aliases = string_list(w, f'option_aliases_{s}', o.aliases)
        if aliases:
            row += f', .aliases = {aliases}'
        if o.sugar:
            w.line(f'static const OptionSugar option_sugar_{s}[] = {{')
            for name, argument in o.sugar:
                w.line(f'    {{ {quote(name)}, {quote(argument) if argument else "NULL"} }},')
            w.line('    {}\n};')
            row += f', .sugar = option_sugar_{s}'
        row += f', .repeat = {REPEATS[o.repeat]}'
        if o.flags:
            row += f', .flags = {flags_text(*["OPTION_" + f.upper() for f in o.flags])}'
        w.line(f'const OptionInfo option_{s} = {{\n    {row},\n    .help = {quote(o.doc.help)}, '
               f'.section = &{o.section.symbol}\n}};\n')
    rows = ', '.join([f'&option_{c_name(o.name)}' for o in module.options] + ['NULL'])
    w.line(f'static const OptionInfo *const options[] = {{ {rows} }};\n')


def source(module):
    w = Writer()
    w.line(BANNER.format(path=module.path) + f'#include "schema/{module.name}.h"\n')
    for t in module.ordered:
        if isinstance(t, Enum):
            define_enum(w, t)
        elif isinstance(t, Record):
            define_record(w, t)
        else:
            define_alternate(w, t)
        w.line(f'const ValueType {t.list_symbol} = {{\n    .kind = VALUE_LIST, '
               f'.name = "{t.name}List", .size = sizeof({t.c_list}), .element = &{t.symbol}\n}};\n')
    define_commands(w, module)
    define_events(w, module)
    define_options(w, module)
    rows = ', '.join([f'&{t.symbol}' for t in module.ordered] + ['NULL'])
    w.line(f'static const ValueType *const types[] = {{ {rows} }};\n')
    name = c_name(module.name)
    w.line(f'static void CONSTRUCTOR schema_{name}_append(void)\n{{\n'
           '    static SchemaModule module = {\n'
           f'        .name = {quote(module.name)}, .types = types, .commands = commands,\n'
           '        .events = events, .options = options\n    };\n\n'
           '    schema_append(&module);\n}')
    return w.text()
