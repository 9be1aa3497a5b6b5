// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const replyTo = "amq.rabbitmq.reply-to"

func rpc(o options) (result, error) {
	service, channel, err := connect(o.broker)
	if err != nil {
		return result{}, err
	}
	queue, err := channel.QueueDeclare("", false, false, true, false, nil)
	if err != nil {
		return result{}, err
	}
	if err := channel.Qos(o.concurrency, 0, false); err != nil {
		return result{}, err
	}
	requests, err := channel.Consume(queue.Name, "", false, false, false, false, nil)
	if err != nil {
		return result{}, err
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := serve(channel, requests, o.warmup()+o.count); err != nil {
			fail(fmt.Errorf("the service: %w", err)) // or the caller would wait for its reply
		}
	}()

	connection, callChannel, err := connect(o.broker)
	if err != nil {
		return result{}, err
	}
	defer connection.Close()
	replies, err := callChannel.Consume(replyTo, "", true, false, false, false, nil)
	if err != nil {
		return result{}, err
	}
	caller := &caller{channel: callChannel, queue: queue.Name, size: o.size, replies: replies}
	if _, err := caller.callMany(o.warmup(), o.concurrency); err != nil {
		return result{}, err
	}
	r, err := caller.callMany(o.count, o.concurrency)
	if err != nil {
		return r, err
	}
	<-served
	return r, service.Close()
}

// The service: a goroutine with a connection of its own. It sends back what it was sent.
func serve(channel *amqp.Channel, requests <-chan amqp.Delivery, count int) error {
	for i := 0; i < count; i++ {
		request, open := <-requests
		if !open {
			return fmt.Errorf("the requests ended after %d of %d", i, count)
		}
		reply := amqp.Publishing{CorrelationId: request.CorrelationId, Body: request.Body}
		if err := send(channel, request.ReplyTo, reply); err != nil {
			return err
		}
		if err := request.Ack(false); err != nil {
			return err
		}
	}
	return channel.Qos(0, 0, false)
}

type caller struct {
	channel *amqp.Channel
	queue   string
	size    int
	replies <-chan amqp.Delivery
	sent    []time.Time // by number; zero: not yet
	took    []float64   // by number, in microseconds; below 0: not answered
}

// One goroutine calls and takes the replies: a goroutine for each call in flight would only be woken in addition.
func (c *caller) callMany(count, inFlight int) (result, error) {
	c.sent = make([]time.Time, count)
	c.took = make([]float64, count)
	for i := range c.took {
		c.took[i] = -1
	}
	r, err := measure(func() error {
		made := 0
		for ; made < count && made < inFlight; made++ {
			if err := c.call(made); err != nil {
				return err
			}
		}
		for answered := 0; answered < count; answered++ {
			if err := c.receive(); err != nil {
				return err
			}
			if made < count {
				if err := c.call(made); err != nil {
					return err
				}
				made++
			}
		}
		return nil
	})
	r.latencies = c.took
	return r, err
}

// The number of the call is its correlation id, and begins its body.
func (c *caller) body(number int) []byte {
	body := make([]byte, c.size)
	var bits [8]byte
	binary.LittleEndian.PutUint64(bits[:], uint64(number))
	copy(body, bits[:])
	return body
}

func (c *caller) call(number int) error {
	message := amqp.Publishing{CorrelationId: strconv.Itoa(number), ReplyTo: replyTo, Body: c.body(number)}
	c.sent[number] = time.Now()
	return send(c.channel, c.queue, message)
}

func (c *caller) receive() error {
	reply, open := <-c.replies
	if !open {
		return fmt.Errorf("the replies ended")
	}
	number, err := strconv.Atoi(reply.CorrelationId)
	if err != nil || number < 0 || number >= len(c.sent) || c.sent[number].IsZero() {
		return fmt.Errorf("a reply to call %q, which was not made", reply.CorrelationId)
	}
	if c.took[number] >= 0 {
		return fmt.Errorf("a second reply to call %d", number)
	}
	if !bytes.Equal(reply.Body, c.body(number)) {
		return fmt.Errorf("call %d was answered with something else than was sent", number)
	}
	c.took[number] = float64(time.Since(c.sent[number]).Nanoseconds()) / 1e3
	return nil
}
