// SPDX-License-Identifier: Apache-2.0

// What amqp091-go costs:
//
//	PROGRAM publish|consume|rpc --count N --size BYTES [--concurrency N] --broker URL
//
// Prints one JSON object, as `haredo bench ... --json` does.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sort"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

type options struct {
	operation   string
	count       int
	size        int
	concurrency int
	broker      string
}

// How many messages go before the span, so that nothing in it is done for the first time.
func (o options) warmup() int {
	switch tenth := o.count / 10; {
	case tenth < 1:
		return 1
	case tenth > 2000:
		return 2000
	default:
		return tenth
	}
}

// What was measured: of the span only, not of what prepares it.
type result struct {
	seconds    float64
	cpuSeconds float64   // user and system, of all threads
	latencies  []float64 // one per call, in microseconds; nil where there are none
}

type percentiles struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

type report struct {
	Operation       string       `json:"operation"`
	Count           int          `json:"count"`
	Size            int          `json:"size"`
	Concurrency     int          `json:"concurrency"`
	Executor        string       `json:"executor"`
	Seconds         float64      `json:"seconds"`
	Rate            float64      `json:"rate"`
	CPUPerMessage   float64      `json:"cpu_us_per_message"`
	LatencyInMicros *percentiles `json:"latency_us"`
}

func main() {
	options, err := parse(os.Args[1:])
	if err == nil {
		err = run(options)
	}
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func parse(arguments []string) (options, error) {
	var o options
	if len(arguments) == 0 {
		return o, fmt.Errorf("usage: publish|consume|rpc --count N --size BYTES [--concurrency N] --broker URL")
	}
	o.operation = arguments[0]
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.IntVar(&o.count, "count", 0, "how many messages or calls")
	flags.IntVar(&o.size, "size", 16, "bytes of a body")
	flags.IntVar(&o.concurrency, "concurrency", 1, "calls in flight")
	flags.StringVar(&o.broker, "broker", "", "amqp://user:password@host:port/vhost")
	if err := flags.Parse(arguments[1:]); err != nil {
		return o, err
	}
	if o.count < 1 || o.size < 0 || o.concurrency < 1 || o.concurrency > 65535 || o.broker == "" || flags.NArg() > 0 {
		return o, fmt.Errorf("--count, --size, --concurrency or --broker is missing or out of range")
	}
	return o, nil
}

func run(o options) error {
	operations := map[string]func(options) (result, error){"publish": publish, "consume": consume, "rpc": rpc}
	operation, ok := operations[o.operation]
	if !ok {
		return fmt.Errorf("%s: no such operation", o.operation)
	}
	r, err := operation(o)
	if err != nil {
		return fmt.Errorf("%s: %w", o.operation, err)
	}
	report := report{
		Operation: o.operation, Count: o.count, Size: o.size, Concurrency: o.concurrency, Executor: "goroutines",
		Seconds: r.seconds, Rate: float64(o.count) / r.seconds,
		CPUPerMessage: r.cpuSeconds * 1e6 / float64(o.count),
	}
	if r.latencies != nil {
		sort.Float64s(r.latencies)
		at := func(share float64) float64 {
			if index := int(float64(o.count) * share); index < o.count {
				return r.latencies[index]
			}
			return r.latencies[o.count-1]
		}
		report.LatencyInMicros = &percentiles{at(0.5), at(0.9), at(0.99), at(1)}
	}
	return json.NewEncoder(os.Stdout).Encode(report)
}

// measure runs what belongs to the span.
func measure(body func() error) (result, error) {
	start, cpuStart := time.Now(), cpuTime()
	err := body()
	return result{seconds: time.Since(start).Seconds(), cpuSeconds: cpuTime() - cpuStart}, err
}

func cpuTime() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err) // it cannot fail with these arguments
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}

func connect(url string) (*amqp.Connection, *amqp.Channel, error) {
	connection, err := amqp.Dial(url)
	if err != nil {
		return nil, nil, err
	}
	channel, err := connection.Channel()
	return connection, channel, err
}
