// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	prefetch = 500
	perAck   = 100
)

func consume(o options) (result, error) {
	connection, channel, err := connect(o.broker)
	if err != nil {
		return result{}, err
	}
	defer connection.Close()
	if _, err := consumeMany(channel, o.warmup(), o.size); err != nil {
		return result{}, err
	}
	return consumeMany(channel, o.count, o.size)
}

func consumeMany(channel *amqp.Channel, count, size int) (result, error) {
	queue, err := filledQueue(channel, count, size)
	if err != nil {
		return result{}, err
	}
	r, err := measure(func() error {
		if err := roundTrip(channel); err != nil {
			return err
		}
		deliveries, err := channel.Consume(queue, "bench", false, false, false, false, nil)
		if err != nil {
			return err
		}
		if err := receive(deliveries, count, size); err != nil {
			return err
		}
		return roundTrip(channel)
	})
	if err != nil {
		return r, err
	}
	if err := channel.Cancel("bench", false); err != nil {
		return r, err
	}
	left, err := channel.QueueDelete(queue, false, false, false)
	if err == nil && left != 0 {
		err = fmt.Errorf("%d messages were left", left)
	}
	return r, err
}

func receive(deliveries <-chan amqp.Delivery, count, size int) error {
	var last uint64
	for i := 1; i <= count; i++ {
		delivery, open := <-deliveries
		if !open {
			return fmt.Errorf("the deliveries ended after %d of %d", i-1, count)
		}
		if len(delivery.Body) != size {
			return fmt.Errorf("a body of %d bytes, not %d", len(delivery.Body), size)
		}
		if delivery.DeliveryTag <= last {
			return fmt.Errorf("delivery tag %d after %d", delivery.DeliveryTag, last)
		}
		last = delivery.DeliveryTag
		if i%perAck == 0 || i == count {
			if err := delivery.Ack(true); err != nil {
				return err
			}
		}
	}
	return nil
}

// An exclusive queue with `count` messages in it.
func filledQueue(channel *amqp.Channel, count, size int) (string, error) {
	queue, err := channel.QueueDeclare("", false, false, true, false, nil)
	if err != nil {
		return "", err
	}
	body := bytes.Repeat([]byte("x"), size)
	for i := 0; i < count; i++ {
		if err := send(channel, queue.Name, amqp.Publishing{Body: body}); err != nil {
			return "", err
		}
	}
	// The queue answers this question before it takes the messages that came earlier: ask until all are there.
	deadline := time.Now().Add(30 * time.Second)
	for {
		queue, err = channel.QueueDeclarePassive(queue.Name, false, false, true, false, nil)
		if err != nil || queue.Messages == count {
			return queue.Name, err
		}
		if time.Now().After(deadline) {
			return "", fmt.Errorf("%d messages in the queue, not %d", queue.Messages, count)
		}
		time.Sleep(2 * time.Millisecond)
	}
}
