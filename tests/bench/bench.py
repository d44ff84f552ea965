"""What a benchmark is.

    @bench.benchmark("start", bench.Measure("exec to greeting", "ms"), rounds=20)
    def start(program):
        \"\"\"What is measured, for the reader of the table.\"\"\"
        return {"exec to greeting": 12.5}

It is called once a round for each program, in turns, so that whatever else the machine does hits
them alike. `host` as a program means: without a virtual machine; only for those that say so.
"""

import dataclasses
import inspect
import statistics

registered = []


class Skip(Exception):
    """The benchmark can't run here; says why."""


@dataclasses.dataclass(frozen=True)
class Program:
    name: str  # rhea, qemu, host
    path: str


@dataclasses.dataclass(frozen=True)
class Measure:
    name: str
    unit: str


@dataclasses.dataclass
class Benchmark:
    name: str
    function: object
    measures: tuple
    rounds: int
    host: bool

    @property
    def note(self):
        return " ".join((inspect.getdoc(self.function) or "").split())

    def run(self, programs, rounds=None):
        """{(program, measure): [values]}"""
        programs = list(programs.values())
        if self.host:
            programs.append(Program("host", ""))
        results = {}
        for number in range(rounds or self.rounds):
            # Now one goes first, now the other.
            for program in programs if number % 2 == 0 else reversed(programs):
                for name, value in self.function(program).items():
                    results.setdefault((program.name, name), []).append(value)
        return results


def benchmark(name, *measures, rounds=10, host=False):
    def register(function):
        registered.append(Benchmark(name, function, measures, rounds, host))
        return function

    return register


def shown(values):
    """The median, and the quartiles behind it."""
    middle = statistics.median(values)
    digits = 0 if middle >= 1000 else 1 if middle >= 10 else 2
    text = "%.*f" % (digits, middle)
    if len(values) >= 4:
        low, _, high = statistics.quantiles(values, n=4)
        text += " (%.*f–%.*f)" % (digits, low, digits, high)
    return text


def row(measure, results):
    values = {who: results.get((who, measure.name)) for who in ("rhea", "qemu", "host")}
    cells = [measure.name, measure.unit]

    def ratio(other):
        if not values["rhea"] or not values[other] or not statistics.median(values[other]):
            return ""
        return "%.2f" % (statistics.median(values["rhea"]) / statistics.median(values[other]))

    cells += [shown(values["rhea"]) if values["rhea"] else "—"]
    cells += [shown(values["qemu"]) if values["qemu"] else "—", ratio("qemu")]
    cells += [shown(values["host"]) if values["host"] else "", ratio("host")]
    return tuple(cells)
