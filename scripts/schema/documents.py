#!/usr/bin/env python3
"""Documents made of the schema: documents.py KIND SCHEMA-FOLDER OUTPUT

KIND: options (docs/options.md), qmp (docs/qmp.md), man (rhea.1), completion (bash); committed
writes the first two into the folder OUTPUT.
"""

import os
import re
import sys

from check import Checker
from model import ON_OFF_AUTO, Enum, Record, SchemaError, Union

SCALARS = {'str': 'text', 'int': 'integer', 'size_mib': 'size', 'any': 'any JSON value',
           'OnOffAuto': '`on`, `off` or `auto`'}
MADE = 'Made from schema/*.schema by `ninja docs`; edit those.'


# --- What both kinds of reference say of a value ---

def type_text(t, is_list=False, link=None):
    """A type for people. link: what to do with a named type's name."""
    if re.fullmatch(r'u?int\d+', t.name):
        text = 'integer'
    elif isinstance(t, Enum) and len(t.values) <= 6:
        text = ', '.join(f'`{v.name}`' for v in t.values)
    elif t.name in SCALARS:
        text = SCALARS[t.name]
    else:
        text = link(t) if link and t.kind != 'builtin' else t.name
    return f'list of {text}' if is_list else text


def range_text(m):
    if not m.bounds:
        return ''
    low, high = m.bounds
    if m.type.name == 'str':
        return f', {low} to {high} bytes'
    if m.high >= 2**63 - 1:
        return f', {low} or more' if m.low else ''
    return f', {low} to {high}'


def presence(m):
    if m.default is not None:
        value = {'true': 'on', 'false': 'off'}.get(m.default, m.default) \
            if m.type.name == 'bool' else m.default
        return f'`{value}`' if value else 'empty'
    return 'optional' if m.optional else 'required'


def notes(item):
    return ''.join(f' *({flag})*' for flag in getattr(item, 'flags', ())
                   if flag in ('deprecated', 'unstable'))


def cell(text):
    return text.replace('|', '\\|').replace('\n', ' ')


def member_table(members, link=None):
    rows = ['| key | value | default | |', '| --- | --- | --- | --- |']
    for m in members:
        value = type_text(m.type, m.is_list, link) + range_text(m)
        rows.append(f'| `{m.name}` | {cell(value)} | {presence(m)} | '
                    f'{cell(m.doc.help + notes(m))} |')
    return rows


def anchor(text):
    return re.sub(r'[^a-z0-9 _-]', '', text.lower()).replace(' ', '-')


# --- docs/options.md ---

def sections(modules):
    """[(Section, [Option])] in the order of the help."""
    found = {}
    for module in modules:
        for option in module.options:
            if 'hidden' not in option.flags:
                found.setdefault((option.section.order, option.section.title), []).append(option)
    return [(title, sorted(options, key=lambda o: o.name))
            for (order, title), options in sorted(found.items())]


REPEAT_TEXT = {
    'merge': 'Given several times, the keys of all count together, later ones first.',
    'append': 'May be given several times.',
    'once': 'Can be given once.',
    'last': '',
}


def option_head(o):
    head = f'-{o.name}' + (f' {o.metavar}' if o.metavar else '')
    return head


def option_text(o):
    out = [f'### `{option_head(o)}`', '']
    text = o.doc.help + ('.' if not o.doc.help.endswith(('.', ')')) else '')
    if 'deprecated' in o.flags:
        text += ' Deprecated.'
    out += [text, '']
    if o.doc.rest:
        out += [o.doc.rest, '']
    if o.aliases:
        out += ['Also: ' + ', '.join(f'`-{a}`' for a in o.aliases) + '.', '']
    if o.sugar:
        plain = ' '.join(f'-{name}' + (f' {argument.replace("%s", o.metavar or "")}'
                                       if argument else '') for name, argument in o.sugar)
        out += [f'Short for `{plain}`.', '']
    if o.argument:
        if REPEAT_TEXT[o.repeat]:
            out += [REPEAT_TEXT[o.repeat], '']
        out += argument_text(o)
    return out


def argument_text(o):
    t, out = o.argument.type, []
    if not isinstance(t, Record):
        if isinstance(t, Enum):
            out += [f'- `{v.name}`: {v.doc.help}' for v in t.values] + ['']
        return out
    if t.implied:
        out += [f'The first value may stand without its key, `{t.implied}`.', '']
    if t.members:
        out += member_table(t.members) + ['']
    if t.opened:
        by = f' of the type that `{t.opened.by}` names' if t.opened.by else ''
        out += [f'Further keys are the properties{by}: `-{o.name} TYPE,help`.' if t.opened.of in
                ('device', 'user-creatable') else f'Further keys are the properties{by}.', '']
    if isinstance(t, Union):
        for b in t.branches:
            value = next(v for v in t.selector.type.values if v.name == b.name)
            out += [f'With `{t.discriminator}={b.name}`'
                    + (f', {value.doc.help}:' if value.doc.help else ':'), '']
            out += member_table(b.type.members) + ['']
    return out


def options_md(modules):
    out = ['# Command-line options', '', MADE, '',
           'Options begin with one dash or two. Arguments of several keys are written',
           '`key=value,key=value`, with a comma in a value doubled, nested keys as `a.b=value` and',
           'items of lists as `list.0=value`, or as JSON: `{"key": "value"}`. A key of type bool',
           'alone means `on`, with `no` before it `off`. `help` or `?` in place of a value lists',
           'what is possible. Sizes take the suffixes K, M, G, T, P and E (powers of 1024).', '']
    for title, options in sections(modules):
        out += [f'## {title}', '']
        for option in options:
            out += option_text(option)
    return '\n'.join(out).rstrip() + '\n'


# --- docs/qmp.md ---

def link_to(t):
    return f'[{t.name}](#{anchor(t.name)})'


def flags_text(item):
    words = {'oob': 'may be run out of band', 'preconfig': 'allowed in the preconfig state',
             'deferred': 'answers when it is done', 'deprecated': 'deprecated',
             'unstable': 'unstable'}
    said = [words[f] for f in item.flags if f in words]
    if item.features:
        said.append('features: ' + ', '.join(f'`{f}`' for f in item.features))
    return said


def arguments_text(args, named):
    if not args:
        return []
    if named:
        return [f'Takes {link_to(args)}.', '']
    return member_table(args.members, link_to) + ['']


def said_text(said):
    return ['(' + '; '.join(said) + ')', ''] if said else []


def command_text(c):
    out = [f'### {c.name}', '', c.doc.help + '.', '']
    if c.doc.rest:
        out += [c.doc.rest, '']
    out += said_text(flags_text(c))
    out += arguments_text(c.args, c.named_args)
    if c.args and not c.named_args and c.args.opened:
        out += ['Further keys are taken.', '']
    if c.ret:
        out += [f'Returns {type_text(c.ret, c.ret_is_list, link_to)}.', '']
    return out


def event_text(e):
    out = [f'### {e.name}', '', e.doc.help + '.', '']
    if e.doc.rest:
        out += [e.doc.rest, '']
    said = flags_text(e)
    if e.rate_ms:
        per = f' for each `{e.rate_key}`' if e.rate_key else ''
        said.append(f'at most one every {e.rate_ms} ms{per}')
    return out + said_text(said) + arguments_text(e.args, e.named_args)


def type_section(t):
    out = [f'### {t.name}', '', t.doc.help + '.', '']
    if t.doc.rest:
        out += [t.doc.rest, '']
    if isinstance(t, Enum):
        out += [f'- `{v.name}`' + (f': {v.doc.help}' if v.doc.help else '') + notes(v)
                for v in t.values] + ['']
        return out
    if isinstance(t, Record):
        if t.features:
            out += ['(features: ' + ', '.join(f'`{f}`' for f in t.features) + ')', '']
        if t.members:
            out += member_table(t.members, link_to) + ['']
        if t.opened:
            by = f' of the type that `{t.opened.by}` names' if t.opened.by else ''
            out += [f'Further keys are the properties{by}.', '']
    else:
        out += ['One of:', '']
        out += [f'- {type_text(b.type, b.is_list, link_to)}'
                + (f': {b.doc.help}' if b.doc.help else '') for b in t.branches] + ['']
    if isinstance(t, Union):
        out += [f'- with `{t.discriminator}` `{b.name}` also the members of {link_to(b.type)}'
                for b in t.branches] + ['']
    return out


def reachable(modules):
    """Named types that commands and events use."""
    found, stack = {}, []
    for module in modules:
        for item in module.commands + module.events:
            if item.args:
                stack.append(item.args)
        stack += [c.ret for c in module.commands if c.ret]
    while stack:
        t = stack.pop()
        if t.kind == 'builtin' or t.name in found:
            continue
        found[t.name] = t
        if isinstance(t, Record):
            stack += [m.type for m in t.members]
        stack += [b.type for b in getattr(t, 'branches', ())]
    made = {i.args.name for m in modules for i in m.commands + m.events
            if i.args and not i.named_args}
    return [found[name] for name in sorted(found) if name not in made]


def qmp_md(modules):
    out = ['# Monitor protocol (QMP)', '', MADE, '',
           'One JSON object a line in both directions. The monitor greets with',
           '`{"QMP": {"version": ..., "capabilities": [...]}}`; a client answers with the command',
           '`qmp_capabilities` and may then run the others: `{"execute": NAME, "arguments": {...},',
           '"id": ...}`. The answer is `{"return": ..., "id": ...}` or `{"error": {"class": ...,',
           '"desc": ...}, "id": ...}`. Events come as `{"event": NAME, "data": {...}, "timestamp":',
           '{"seconds": ..., "microseconds": ...}}`.', '']
    for module in sorted(modules, key=lambda m: m.name):
        if not module.commands and not module.events:
            continue
        out += [f'## {module.doc.help.rstrip(".") or module.name}', '']
        if module.doc.rest:
            out += [module.doc.rest, '']
        for c in sorted(module.commands, key=lambda c: c.name):
            out += command_text(c)
        for e in sorted(module.events, key=lambda e: e.name):
            out += event_text(e)
    out += ['## Types', '']
    for t in reachable(modules):
        out += type_section(t)
    return '\n'.join(out).rstrip() + '\n'


# --- rhea.1 ---

def troff(text):
    """Plain text; a leading dot or quote would be a request."""
    text = text.replace('\\', '\\e').replace('-', '\\-')
    text = re.sub(r'`([^`]*)`', r'\\fB\1\\fR', text)
    return re.sub(r"^([.'])", r'\\&\1', text, flags=re.M)


def man_members(members):
    out = []
    for m in members:
        value = type_text(m.type, m.is_list)
        default = presence(m)
        out += ['.RS', '.TP', f'.BR {troff(m.name)} = ' + '"' + troff(value + range_text(m)) + '"',
                troff(m.doc.help) + (f' ({troff(default)})' if default != 'optional' else ''), '.RE']
    return out


def man_page(modules):
    out = ['.\\" Made from schema/*.schema by scripts/schema.', '.TH RHEA 1', '.ad l', '.nh', '.SH NAME',
           'rhea \\- machine emulator and virtualizer', '.SH SYNOPSIS', '.B rhea',
           '.RI [ options ]', '.SH DESCRIPTION',
           'Runs a virtual x86\\-64 machine. Arguments of several keys are written',
           '.BR key=value,key=value ,',
           'a comma in a value doubled, or as JSON.',
           '.B help', 'in place of a value lists what is possible.', '.SH OPTIONS']
    for title, options in sections(modules):
        out += [f'.SS {troff(title)}']
        for o in options:
            names = ', '.join(f'\\fB\\-{troff(n)}\\fR' for n in [o.name] + o.aliases)
            out += ['.TP', names + (f' \\fI{troff(o.metavar)}\\fR' if o.metavar else ''),
                    troff(o.doc.help)]
            if o.argument and isinstance(o.argument.type, Record):
                t = o.argument.type
                out += man_members(t.members)
                for b in getattr(t, 'branches', ()):
                    out += ['.RS', '.PP', f'With {troff(t.discriminator)}={troff(b.name)}:', '.RE']
                    out += man_members(b.type.members)
    out += ['.SH "EXIT STATUS"', '0 after an orderly end, 1 after an error.', '.SH FILES', '.TP',
            '.I rhea.conf', 'default configuration file, in the system configuration folder',
            "(/etc/rhea or as built) or in", '.BR $RHEA_CONFDIR .', '']
    return '\n'.join(out)


# --- bash completion ---

def completion_keys(t):
    keys = [m.name for m in t.members]
    for b in getattr(t, 'branches', ()):
        keys += [m.name for m in b.type.members]
    return sorted(set(keys))


def value_words(t):
    if isinstance(t, Enum):
        return [v.name for v in t.values]
    if t.name == 'OnOffAuto':
        return ON_OFF_AUTO
    return ['on', 'off'] if t.name == 'bool' else []


def completion(modules):
    options = [o for m in modules for o in m.options if 'hidden' not in o.flags]
    names = sorted('-' + n for o in options for n in [o.name] + o.aliases)
    out = ['# bash completion of rhea, made from schema/*.schema by scripts/schema', '',
           '# The words of a list that `rhea -OPTION help` prints: its first column, or the quoted',
           '# name.', '_rhea_ask()', '{',
           '    "$1" "$2" help 2>/dev/null |',
           "        sed -n -e 's/^name \"\\([^\"]*\\)\".*/\\1/p' -e t"
           " -e 's/^ *\\([a-z0-9][^ =]*\\)\\( .*\\)\\{0,1\\}$/\\1/p'",
           '}', '',
           '_rhea()', '{',
           '    local word=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD-1]}',
           '    local IFS=$\' \\t\\n\' words= last prefix=',
           '    # readline may have cut the argument at "="',
           '    local line=${COMP_LINE:0:COMP_POINT}',
           '    last=${line##* }',
           '    option=${line% *}',
           '    option=${option##* }',
           '    case $option in']
    for o in sorted(options, key=lambda o: o.name):
        if not o.argument:
            continue
        pattern = '|'.join(f'{dash}{n}' for n in [o.name] + o.aliases if n != '?'
                           for dash in ('-', '--'))
        out += [f'    {pattern})'] + completion_case(o) + ['        ;;']
    out += ['    *)', f'        words="{" ".join(names)}"', '        ;;', '    esac',
            '    # complete what stands behind the last comma or "="',
            '    local tail=${last##*,}',
            '    case $tail in *=*) tail=${tail#*=} ;; esac',
            '    COMPREPLY=($(compgen -W "$words" -- "$tail"))',
            '    # and hand back the part that readline replaces',
            '    case $word in',
            '    *,*|*=*) prefix=${word%"$tail"} ;;',
            '    esac',
            '    if [ -n "$prefix" ]; then',
            '        COMPREPLY=("${COMPREPLY[@]/#/$prefix}")',
            '    fi',
            '    case ${COMPREPLY[0]} in *=) compopt -o nospace ;; esac',
            '}', '',
            'complete -F _rhea rhea', '']
    return '\n'.join(out)


def completion_case(o):
    """Shell lines that set $words."""
    t = o.argument.type
    if not isinstance(t, Record):
        if value_words(t):
            return [f'        words="{" ".join(value_words(t))}"']
        if 'helps' in o.flags:
            return [f'        words=$(_rhea_ask "${{COMP_WORDS[0]}}" -{o.name})']
        if 'FILE' in (o.metavar or '') or 'DIR' in (o.metavar or ''):
            return ['        COMPREPLY=($(compgen -f -- "$word"))', '        return']
        return ['        return']
    out = [f'        words="{" ".join(k + "=" for k in completion_keys(t))}"',
           '        case ${last##*,} in']
    members = list(t.members) + [m for b in getattr(t, 'branches', ()) for m in b.type.members]
    seen = set()
    for m in members:
        words = value_words(m.type)
        if words and m.name not in seen:
            out.append(f'        {m.name}=*) words="{" ".join(words)}" ;;')
        seen.add(m.name)
    out.append('        esac')
    if t.implied:
        implied = next(m for m in t.members if m.name == t.implied)
        words = value_words(implied.type)
        if words:
            out.append(f'        case $last in *,*|*=*) ;; *) words="$words {" ".join(words)}" ;; esac')
        elif t.opened and t.opened.by:
            out.append('        case $last in *,*|*=*) ;; *) '
                       f'words="$words $(_rhea_ask "${{COMP_WORDS[0]}}" -{o.name})" ;; esac')
    return out


KINDS = {'options': options_md, 'qmp': qmp_md, 'man': man_page, 'completion': completion}
COMMITTED = {'options.md': options_md, 'qmp.md': qmp_md}


def write(path, text):
    if path == '-':
        sys.stdout.write(text)
    else:
        with open(path, 'w', encoding='utf-8') as out:
            out.write(text)


def main(argv):
    if len(argv) != 4 or argv[1] not in [*KINDS, 'committed']:
        print(__doc__, file=sys.stderr)
        return 2
    kind, folder, output = argv[1:]
    try:
        modules = Checker(folder).load_all()
    except SchemaError as error:
        print(error, file=sys.stderr)
        return 1
    if kind == 'committed':
        for name, make in COMMITTED.items():
            write(os.path.join(output, name), make(modules))
    else:
        write(output, KINDS[kind](modules))
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv))
