"""From the text of a schema file to the objects of model.py. The language: docs/schema.md."""

import re

from model import (Alternate, Branch, Command, Doc, Enum, EnumValue, Event, Member, Module, Open,
                   Option, Record, SchemaError, Section, Union, camel, nearest)

TOKEN = re.compile(r'''
    (?P<space>[ \t\r]+)
  | (?P<newline>\n)
  | (?P<doc>\#\#[^\n]*)
  | (?P<comment>\#[^\n]*)
  | (?P<string>"(?:[^"\\\n]|\\["\\])*")
  | (?P<dots>\.\.\.?)
  | (?P<arrow>->)
  | (?P<word>(?:-(?=[0-9]))?[A-Za-z0-9_](?:[A-Za-z0-9_]|[-.](?=[A-Za-z0-9_]))*)
  | (?P<mark>[{}()\[\]:=?,])
''', re.X)

MEMBER_FLAGS = ('unstable', 'deprecated')
COMMAND_FLAGS = ('unstable', 'deprecated', 'oob', 'preconfig', 'deferred', 'monitor')
EVENT_FLAGS = ('unstable', 'deprecated')
OPTION_FLAGS = ('first', 'positional', 'deprecated', 'hidden', 'helps', 'nofile')
REPEATS = ('last', 'once', 'merge', 'append')


class Token:
    def __init__(self, kind, text, line):
        self.kind, self.text, self.line = kind, text, line


def tokenize(text, path):
    tokens, line, at = [], 1, 0
    while at < len(text):
        match = TOKEN.match(text, at)
        if not match:
            raise SchemaError(f'{path}:{line}', f'unexpected character {text[at]!r}')
        kind = match.lastgroup
        if kind == 'newline':
            line += 1
        elif kind not in ('space', 'comment'):
            tokens.append(Token(kind, match.group(), line))
        at = match.end()
    tokens.append(Token('end', 'end of file', line))
    return tokens


class Parser:
    def __init__(self, text, path, name):
        self.tokens = tokenize(text, path)
        self.path = path
        self.at = 0
        self.module = Module(name, path)
        self.section = None

    # --- tokens ---

    @property
    def token(self):
        return self.tokens[self.at]

    @property
    def where(self):
        return f'{self.path}:{self.token.line}'

    def fail(self, message):
        raise SchemaError(self.where, message)

    def advance(self):
        token = self.token
        self.at += 1
        return token

    def at_text(self, *texts):
        return self.token.kind not in ('string', 'doc') and self.token.text in texts

    def accept(self, *texts):
        return self.advance().text if self.at_text(*texts) else None

    def expect(self, text, what=''):
        if not self.at_text(text):
            self.fail(f"expected '{text}'{what}, found '{self.token.text}'")
        return self.advance()

    def word(self, what):
        if self.token.kind != 'word':
            self.fail(f"expected {what}, found '{self.token.text}'")
        return self.advance().text

    def string(self, what):
        if self.token.kind != 'string':
            self.fail(f"expected {what} in quotes, found '{self.token.text}'")
        return re.sub(r'\\(.)', r'\1', self.advance().text[1:-1])

    def docs(self):
        """The documentation lines that stand before an item."""
        lines = []
        while self.token.kind == 'doc':
            lines.append(re.sub(r'^## ?', '', self.advance().text).rstrip())
        return Doc(lines)

    def trailing_doc(self, doc):
        """... or behind it on the same line."""
        if self.token.kind == 'doc' and self.token.line == self.tokens[self.at - 1].line:
            doc.lines.append(self.advance().text[2:].strip())
        return doc

    def flags(self, allowed):
        found = []
        while self.token.kind == 'word' and self.token.text in allowed:
            found.append(self.advance().text)
        return found

    def features(self):
        names = []
        if self.accept('features'):
            self.expect('(')
            while not self.accept(')'):
                names.append(self.word('the name of a feature'))
                self.accept(',')
        return names

    # --- items ---

    def parse(self):
        items = {
            'use': self.use, 'enum': self.enum, 'record': self.record, 'union': self.union,
            'alternate': self.alternate, 'command': self.command, 'event': self.event,
            'options': self.options, 'option': self.option,
        }
        self.heading()
        while self.token.kind != 'end':
            doc = self.docs()
            if self.token.kind == 'end':
                self.fail('documentation without an item behind it')
            word = self.token.text
            if self.token.kind != 'word' or word not in items:
                self.fail(f"expected one of {', '.join(items)}, found '{word}'"
                          + nearest(word, items))
            where = self.where
            self.advance()
            items[word](doc, where)
        return self.module

    def heading(self):
        """Documentation from the first line on, with an empty line behind it, is the file's."""
        count = 0
        while self.tokens[count].kind == 'doc' and self.tokens[count].line == count + 1:
            count += 1
        if count and self.tokens[count].line > count + 1:
            lines = [re.sub(r'^## ?', '', self.advance().text).rstrip() for _ in range(count)]
            self.module.doc = Doc(lines)

    def use(self, doc, where):
        while True:
            self.module.uses.append((self.word('the name of a schema file'), where))
            if not self.accept(','):
                break

    def enum(self, doc, where):
        name = self.word('the name of the enum')
        prefix = self.word('a prefix') if self.accept('prefix') else None
        values = []
        self.expect('{')
        while not self.accept('}'):
            value_doc, value_where = self.docs(), self.where
            if self.at_text('}'):
                self.fail('documentation without a value behind it')
            value = self.word('a value')
            flags = self.flags(MEMBER_FLAGS) if self.same_line() else []
            self.accept(',')
            values.append(EnumValue(value, value_where, self.trailing_doc(value_doc), flags))
        self.module.types.append(Enum(name, where, doc, prefix, values))

    def same_line(self):
        return self.token.line == self.tokens[self.at - 1].line

    def type_name(self):
        if self.accept('['):
            name = self.word('a type')
            self.expect(']')
            return name, True
        return self.word('a type'), False

    def literal(self):
        if self.token.kind == 'string':
            return self.string('a value')
        return self.word('a value')

    def member_rest(self, name, where, doc, optional):
        """Behind `NAME:`"""
        type_name, is_list = self.type_name()
        default = bounds = None
        if self.accept('='):
            default = self.literal()
        if self.accept('in'):
            low = self.word('the lowest value')
            if not self.accept('..'):
                self.fail(f"expected '..' and the highest value, found '{self.token.text}'")
            bounds = (low, self.word('the highest value'))
        flags = self.flags(MEMBER_FLAGS) if self.same_line() else []
        return Member(name, where, doc, type_name, is_list, optional, default, bounds, flags)

    def members(self, end):
        """Members up to the closing mark; returns (members, Open or None)."""
        members, opened = [], None
        while not self.accept(end):
            doc, where = self.docs(), self.where
            if self.at_text(end):
                self.fail('documentation without a member behind it')
            if self.accept('...'):
                opened = Open(where)
                if self.accept('by'):
                    opened.by = self.word('a member')
                    self.expect('of')
                    opened.of = self.word('an object type')
                    opened.unlisted = bool(self.accept('unlisted'))
                self.accept(',')
                continue
            name = self.word('a member')
            optional = bool(self.accept('?'))
            self.expect(':', f" behind '{name}'")
            member = self.member_rest(name, where, doc, optional)
            self.accept(',')
            self.trailing_doc(doc)
            members.append(member)
        return members, opened

    def struct_head(self, what):
        name = self.word(f'the name of the {what}')
        base = self.word('the base record') if self.accept(':') else None
        implied = self.word('a member') if self.accept('implied') else None
        features = self.features()
        self.expect('{')
        return name, base, implied, features

    def record(self, doc, where):
        name, base, implied, features = self.struct_head('record')
        members, opened = self.members('}')
        self.module.types.append(Record(name, where, doc, members, base, opened, implied, features))

    def branches(self):
        found = []
        self.expect('{')
        while not self.accept('}'):
            doc, where = self.docs(), self.where
            name = self.word('a branch')
            self.expect(':', f" behind '{name}'")
            type_name, is_list = self.type_name()
            self.accept(',')
            branch = Branch(name, where, self.trailing_doc(doc), type_name)
            branch.is_list = is_list
            found.append(branch)
        return found

    def union(self, doc, where):
        name, base, implied, features = self.struct_head('union')
        members, opened = self.members('}')
        if opened:
            raise SchemaError(opened.where, f"union '{name}' can't be open")
        self.expect('on', ' and the member that selects')
        discriminator = self.word('the member that selects')
        self.module.types.append(
            Union(name, where, doc, members, discriminator, self.branches(), base, implied,
                  features))

    def alternate(self, doc, where):
        name = self.word('the name of the alternate')
        self.module.types.append(Alternate(name, where, doc, self.branches()))

    def arguments(self, name, where, doc):
        """`( members )` or `(Type)`: a Record made for it, the name of one, or None."""
        if not self.accept('('):
            return None
        second = self.tokens[self.at + 1]
        if self.token.kind == 'word' and second.kind == 'mark' and second.text == ')':
            named = self.word('a type')
            self.expect(')')
            return named
        members, opened = self.members(')')
        if not members and not opened:
            return None
        return Record(name, where, Doc(), members, opened=opened)

    def command(self, doc, where):
        name = self.word('the name of the command')
        args = self.arguments(camel(name) + 'Args', where, doc)
        ret, ret_is_list = self.type_name() if self.accept('->') else (None, False)
        flags = self.flags(COMMAND_FLAGS)
        features = self.features()
        self.module.commands.append(
            Command(name, where, self.trailing_doc(doc), args, ret, ret_is_list, flags, features))

    def event(self, doc, where):
        name = self.word('the name of the event')
        args = self.arguments(camel(name.lower()) + 'Event', where, doc)
        rate = key = None
        if self.accept('rate'):
            rate = self.word('milliseconds')
            if not rate.isdigit():
                self.fail(f"expected milliseconds behind 'rate', found '{rate}'")
            if self.accept('per'):
                key = self.word('a member')
        flags = self.flags(EVENT_FLAGS)
        features = self.features()
        self.module.events.append(
            Event(name, where, self.trailing_doc(doc), args, int(rate or 0), key, flags, features))

    def options(self, doc, where):
        title = self.string('a heading')
        order = self.word('a number')
        if not order.isdigit():
            self.fail(f"expected a number behind the heading, found '{order}'")
        self.section = Section(title, int(order), where)
        self.module.sections.append(self.section)

    def alias(self):
        return self.accept('?') or self.word('another name')

    def option(self, doc, where):
        if not self.section:
            self.fail("an option needs a heading: options \"TITLE\" ORDER before it")
        name = self.word('the name of the option')
        argument, metavar, repeat, group, sugar = None, None, None, None, []
        aliases, flags = [], []
        if self.accept(':'):
            argument = self.member_rest(name, where, Doc(), True)
        while True:
            if self.token.kind == 'string':
                metavar = self.string('the argument')
            elif self.at_text('alias'):
                self.advance()
                aliases.append(self.alias())
                while self.accept(','):
                    aliases.append(self.alias())
            elif self.at_text('group'):
                self.advance()
                group = self.string('the name of the group')
            elif self.at_text('sugar'):
                self.advance()
                sugar.append((self.word('an option'),
                              self.string('its argument') if self.token.kind == 'string' else None))
            elif self.at_text(*REPEATS):
                if repeat:
                    self.fail(f"'{self.token.text}' and '{repeat}' exclude each other")
                repeat = self.advance().text
            elif self.at_text(*OPTION_FLAGS):
                flags.append(self.advance().text)
            else:
                break
        self.module.options.append(
            Option(name, where, self.trailing_doc(doc), argument, metavar, aliases,
                   repeat or 'last', group or name, flags, sugar, self.section))
