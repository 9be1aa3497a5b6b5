// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"

	amqp "github.com/rabbitmq/amqp091-go"
)

func publish(o options) (result, error) {
	connection, channel, err := connect(o.broker)
	if err != nil {
		return result{}, err
	}
	defer connection.Close()
	body := bytes.Repeat([]byte("x"), o.size)
	many := func(count int) error {
		for i := 0; i < count; i++ {
			if err := send(channel, "haredo.bench.nowhere", amqp.Publishing{Body: body}); err != nil {
				return err
			}
		}
		return roundTrip(channel)
	}
	if err := many(o.warmup()); err != nil {
		return result{}, err
	}
	return measure(func() error { return many(o.count) })
}

func send(channel *amqp.Channel, queue string, message amqp.Publishing) error {
	return channel.PublishWithContext(context.Background(), "", queue, false, false, message)
}

// The broker answers only after what was sent on the channel before.
func roundTrip(channel *amqp.Channel) error {
	return channel.Qos(prefetch, 0, false)
}
