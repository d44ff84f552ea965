"""Run unittest test cases and print TAP.

    import tap, unittest
    class Something(unittest.TestCase): ...
    if __name__ == "__main__":
        tap.main()

Arguments: --list prints the tests' names; anything else selects the tests whose names contain it.
"""

import sys
import traceback
import unittest


class TapResult(unittest.TestResult):
    """Prints a line a test; a failing test's trace goes before it as comments."""

    def __init__(self):
        super().__init__()
        self.number = 0
        self.failed_subtests = set()

    def line(self, ok, test, extra=""):
        self.number += 1
        name = test.id().replace("__main__.", "")
        print("%s %d - %s%s" % ("ok" if ok else "not ok", self.number, name, extra), flush=True)

    def comment(self, error):
        for line in "".join(traceback.format_exception(*error)).splitlines():
            print("# " + line)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.line(True, test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.comment(err)
        self.line(False, test)

    def addError(self, test, err):
        super().addError(test, err)
        self.comment(err)
        self.line(False, test)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.line(True, test, " # SKIP " + reason.replace("\n", " "))

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            print("# in %s" % subtest)
            self.comment(err)
            self.failed_subtests.add(test)

    def stopTest(self, test):
        super().stopTest(test)
        if test in self.failed_subtests:
            self.failed_subtests.discard(test)
            self.line(False, test)


def flatten(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from flatten(item)
        else:
            yield item


def main():
    tests = list(flatten(unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])))
    words = sys.argv[1:]
    if words == ["--list"]:
        for test in tests:
            print(test.id())
        return
    if words:
        tests = [t for t in tests if any(word in t.id() for word in words)]
    print("TAP version 13")
    result = TapResult()
    unittest.TestSuite(tests).run(result)
    # At the end, so that it counts what a failing setUpClass did to the number of lines.
    print("1..%d" % result.number)
    sys.exit(0 if result.wasSuccessful() else 1)
