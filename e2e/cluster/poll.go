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
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last error
	for {
		err := condition(ctx)
		if err == nil {
			return nil
		}
		// What a condition says because its time is up, hides what it waited for.
		if last == nil || ctx.Err() == nil {
			last = err
		}
		if errors.As(err, new(fatalError)) {
			return fmt.Errorf("%s: %w", what, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not within %v: %w", what, limit, last)
		case <-time.After(pollInterval):
		}
	}
}
