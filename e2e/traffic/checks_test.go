package traffic

import (
	"errors"
	"fmt"
	"slices"
)

// expectation is one property of a right reply.
type expectation func(r *reply) error

// all joins expectations; the first that fails says why.
func all(r *reply, expectations ...expectation) error {
	for _, expect := range expectations {
		if err := expect(r); err != nil {
			return err
		}
	}
	return nil
}

func code(wanted ...int) expectation {
	return func(r *reply) error {
		if r.err != nil {
			return r.err
		}
		if !slices.Contains(wanted, r.code) {
			return fmt.Errorf("want status %v, got %d", wanted, r.code)
		}
		return nil
	}
}

func from(backends ...string) expectation {
	return func(r *reply) error {
		if !slices.Contains(backends, r.backend()) {
			return fmt.Errorf("want an answer of %v, got one of %q", backends, r.backend())
		}
		return nil
	}
}

// header wants a response header; the empty value means that it must be absent.
func header(name, value string) expectation {
	return func(r *reply) error {
		if got := r.header.Get(name); got != value {
			return fmt.Errorf("want response header %s %q, got %q", name, value, got)
		}
		return nil
	}
}

// requestHeader is the same for what the backend saw.
func requestHeader(name, value string) expectation {
	return func(r *reply) error {
		got := ""
		if values := r.seen().Headers[name]; len(values) > 0 {
			got = values[0]
		}
		if got != value {
			return fmt.Errorf("want request header %s %q at the backend, got %q", name, value, got)
		}
		return nil
	}
}

func refused(r *reply) error {
	if r.err == nil {
		return errors.New("want no connection, got a reply")
	}
	return nil
}
