package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const pollInterval = 100 * time.Millisecond

// fatalError ends a poll before its time.
type fatalError struct{ error }

func (f fatalError) Unwrap() error { return f.error }

func fatal(err error) error { return fatalError{err} }

// Poll asks until the condition returns nil; the error says what it returned last.
func Poll(ctx context.Context, limit time.Duration, what string, condition func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last error
	for {
		err := condition(limited)
		if err == nil {
			return nil
		}
		// What a condition says because its time is up, hides what it waited for.
		if last == nil || limited.Err() == nil {
			last = err
		}
		if errors.As(err, new(fatalError)) {
			return fmt.Errorf("%s: %w", what, err)
		}
		select {
		case <-limited.Done():
			if ctx.Err() != nil {
				return fmt.Errorf("%s: %w: %w", what, ctx.Err(), last)
			}
			return fmt.Errorf("%s: not within %v: %w", what, limit, last)
		case <-time.After(pollInterval):
		}
	}
}
