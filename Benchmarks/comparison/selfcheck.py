# SPDX-License-Identifier: Apache-2.0
"""Tests of the arithmetic and of the table, on lines made up for them."""
import os
import select
import unittest

import broker
import children
import figures
import programs
from workloads import CPU, MEASURE, RATE, WORKLOADS, Target


def lines(workload, executor, library, rates, cpus=None):
    """One pair per (ours, theirs)."""
    cpus = cpus or [(1, 1)] * len(rates)
    return [
        {"workload": workload, "executor": executor, "library": library, "pair": pair, "side": side,
         "result": {RATE: rate[index], CPU: cpu[index]}}
        for pair, (rate, cpu) in enumerate(zip(rates, cpus), 1) for index, side in enumerate(("ours", "theirs"))]


class Arithmetic(unittest.TestCase):
    def test_the_ratio_is_the_median_of_the_pairs_and_not_the_ratio_of_the_medians(self):
        some = lines("publish-16", "pool", MEASURE, [(10, 10), (40, 20), (90, 30)])
        ratio = figures.compare(some, "publish-16", "pool", MEASURE, RATE)
        self.assertEqual((ratio.theirs, ratio.median, ratio.least, ratio.most, ratio.pairs), (20, 2, 1, 3, 3))
        some = lines("publish-16", "pool", MEASURE, [(30, 10), (10, 100), (20, 20)])
        self.assertEqual(figures.compare(some, "publish-16", "pool", MEASURE, RATE).median, 1)
        self.assertEqual(figures.ours(some, "publish-16", "pool", RATE), 20)

    def test_half_a_pair_does_not_count(self):
        some = lines("publish-16", "pool", MEASURE, [(10, 10), (40, 20)])[:-1]
        self.assertEqual(figures.compare(some, "publish-16", "pool", MEASURE, RATE).pairs, 1)
        self.assertIsNone(figures.compare(some[:1], "publish-16", "pool", MEASURE, RATE))

    def test_workloads_executors_and_libraries_are_kept_apart(self):
        some = (lines("rpc-64", "pool", MEASURE, [(2, 1)]) + lines("rpc-64", "loop", MEASURE, [(3, 1)])
                + lines("rpc-1", "pool", MEASURE, [(4, 1)]) + lines("rpc-64", "pool", "pika", [(5, 1)]))
        self.assertEqual(figures.compare(some, "rpc-64", "pool", MEASURE, RATE).median, 2)
        self.assertEqual(figures.ours(some, "rpc-64", "pool", RATE), 3.5)

    def test_targets(self):
        ratio = figures.Ratio(1, 0.95, 0.5, 2, 5)
        self.assertEqual(figures.verdict(Target(0.9, at_least=True), 7, ratio), "≥ 0.9: met")
        self.assertEqual(figures.verdict(Target(0.9), 7, ratio), "≤ 0.9: missed")
        self.assertEqual(figures.verdict(Target(7, is_absolute=True), 7, ratio), "≤ 7 µs: met")
        self.assertEqual(figures.verdict(Target(6.9, is_absolute=True), 7, None), "≤ 6.9 µs: missed")
        self.assertEqual(figures.verdict(Target(0.9), 7, None), "≤ 0.9: not measured")
        self.assertEqual(figures.verdict(None, 7, ratio), "")


class Table(unittest.TestCase):
    def test_rows(self):
        some = (lines("publish-16", "pool", MEASURE, [(300_000, 100_000), (250_000, 125_000)], [(0.5, 2), (0.5, 1)])
                + lines("publish-16", "pool", "pika", [(300_000, 10_000)], [(0.5, 12.5)]))
        rows = figures.table(some)
        self.assertEqual(rows[0][3:6], ["HareDo", MEASURE, "pika"])
        self.assertEqual(rows[1:], [
            ["publish, 16 B", "pool", "rate", "300,000/s", "112,500/s × 2.50 (2.00 – 3.00)", "10,000/s × 30.00",
             "≥ 1.5: met"],
            ["publish, 16 B", "pool", "CPU", "0.5 µs", "1.5 µs × 0.38 (0.25 – 0.50)", "12.5 µs × 0.04",
             "≤ 0.3: missed"]])

    def test_lines_are_equally_long(self):
        rendered = figures.markdown(figures.table(lines("rpc-1", "loop", "bunny", [(1, 2)]))).splitlines()
        self.assertEqual(len(rendered), 4)
        self.assertEqual(len({len(line) for line in rendered}), 1)

    def test_targets_belong_to_executors_that_are_measured(self):
        for workload in WORKLOADS:
            self.assertLessEqual({executor for executor, _ in workload.targets}, set(workload.executors))


class Results(unittest.TestCase):
    GOOD = ('{"operation":"rpc","count":10,"size":16,"concurrency":64,"executor":"main","seconds":1,"rate":10,'
            '"cpu_us_per_message":2,"latency_us":null}')

    def refused(self, line, reason):
        with self.assertRaisesRegex(children.Failure, reason):
            programs.checked(line, WORKLOADS[-1], 10, "x")

    def test_what_is_no_result_is_refused(self):
        self.assertEqual(programs.checked(self.GOOD, WORKLOADS[-1], 10, "x")["rate"], 10)
        self.refused("", "not one JSON object")
        self.refused("7", "not one JSON object")
        self.refused(self.GOOD + self.GOOD, "not one JSON object")
        self.refused(self.GOOD.replace("rate", "speed"), "rate is missing")
        self.refused(self.GOOD.replace('"count":10', '"count":9'), "count is 9, and 10 was asked for")
        self.refused(self.GOOD.replace('"concurrency":64', '"concurrency":1'), "concurrency is 1")
        self.refused(self.GOOD.replace('"seconds":1', '"seconds":0'), "nothing was measured")


class Children(unittest.TestCase):
    def test_a_child_that_does_not_end_is_ended_with_its_children(self):
        reading, writing = os.pipe()
        with self.assertRaisesRegex(children.Failure, "not done after 0.3 s"):
            children.run(["sh", "-c", "sleep 60 & wait"], 0.3, pass_fds=[writing])
        os.close(writing)
        # Both of them had the pipe: it has an end only without them.
        self.assertTrue(select.select([reading], [], [], 10)[0])
        self.assertEqual(os.read(reading, 1), b"")
        os.close(reading)

    def test_a_failure_tells_what_the_child_said(self):
        with self.assertRaisesRegex(children.Failure, "status 3\nwhy"):
            children.run(["sh", "-c", "echo why >&2; exit 3"], 10)
        with self.assertRaises(children.Failure):
            children.run(["/nowhere/at/all"], 10)


class Broker(unittest.TestCase):
    def test_an_entry_of_a_table(self):
        table = b"\x07productS\0\0\0\x08RabbitMQ\x07versionS\0\0\0\x063.10.8\x08platformS\0\0\0\x01x"
        self.assertEqual(broker.entry(table, "version"), "3.10.8")
        self.assertEqual(broker.entry(table, "product"), "RabbitMQ")
        self.assertIsNone(broker.entry(table, "copyright"))

    def test_no_password_is_written_down(self):
        self.assertEqual(broker.without_credentials("amqp://me:secr@t@host:1/v"), "amqp://host:1/v")
        self.assertEqual(broker.without_credentials("amqp://host"), "amqp://host")


def main():
    suite = unittest.defaultTestLoader.loadTestsFromModule(__import__(__name__))
    return 0 if unittest.TextTestRunner().run(suite).wasSuccessful() else 1
