class _Pytest:
    """The part of pytest that KodCode's tests use, without pytest."""

    class _Raises:
        def __init__(self, expected, match=None):
            self.expected, self.match = expected, match

        def __enter__(self):
            return self

        def __exit__(self, kind, value, trace):
            import re
            assert kind is not None, "expected %r" % (self.expected,)
            self.type, self.value = kind, value
            if not issubclass(kind, self.expected):
                return False
            assert self.match is None or re.search(self.match, str(value)), "no match for %r" % (self.match,)
            return True

    class _Approx:
        def __init__(self, expected, rel=None, abs=None):
            self.expected, self.rel, self.abs = expected, rel, abs

        def _close(self, a, b):
            if isinstance(b, dict):
                return isinstance(a, dict) and a.keys() == b.keys() and all(self._close(a[k], b[k]) for k in b)
            if isinstance(b, (list, tuple)):
                return len(a) == len(b) and all(self._close(x, y) for x, y in zip(a, b))
            if isinstance(b, bool) or not isinstance(b, (int, float, complex)) or a == b:
                return a == b
            if b != b or abs(b) == float("inf"):
                return False
            absolute = 1e-12 if self.abs is None else self.abs
            relative = (1e-6 if self.abs is None else 0.0) if self.rel is None else self.rel
            return abs(a - b) <= max(relative * abs(b), absolute)

        def __eq__(self, actual):
            return self._close(actual, self.expected)

    class _Mark:
        @staticmethod
        def parametrize(names, cases, ids=None):
            names = [n.strip() for n in names.split(",")] if isinstance(names, str) else list(names)
            cases = list(cases)

            def decorate(test):
                def run(*args, **outer):
                    for case in cases:
                        test(*args, **outer, **dict(zip(names, case if len(names) > 1 else (case,))))
                return run
            return decorate

    mark = _Mark()
    approx = staticmethod(lambda expected, rel=None, abs=None: _Pytest._Approx(expected, rel, abs))

    @staticmethod
    def raises(expected, call=None, *args, match=None, **kwargs):
        context = _Pytest._Raises(expected, match)
        if call is None:
            return context
        with context:
            call(*args, **kwargs)
        return context

    @staticmethod
    def fail(reason=""):
        raise AssertionError(reason)


pytest = _Pytest()
